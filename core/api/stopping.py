"""What is said when a signal stopped a training, an evaluation or a fine-tuning, and how to go on."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from shlex import quote

from sensorium.errors import Interrupted
from sensorium.interruption import name_of, number_of
from sensorium.runs.checkpoint import Checkpoints
from sensorium.runs.run import Run


def stopped_training(error: KeyboardInterrupt, run: Run, evaluators: Iterable[str], started: float) -> Interrupted:
    """Return the error of a training that was stopped at once, or in its evaluation.

    Args:
        error: what the signal raised.
        run: the run folder.
        evaluators: names of its tables.
        started: when this training, or the rest of it, began; seconds since the epoch.
    """
    by = name_of(number_of(error))
    if run.status().get("state") == "finished":
        sentence = f"The training is finished; {by} stopped its evaluation. {_rest(run, evaluators, started)}"
    elif steps := Checkpoints(run.checkpoints, 1).steps():
        sentence = (
            f"{by} stopped the training at once; its last checkpoint is of step {steps[0]}: "
            f"continue with `sensorium train --resume {run.folder}`."
        )
    else:
        sentence = f"{by} stopped the training before its first checkpoint: there is nothing to resume, start it again."
    return Interrupted(sentence, number_of(error))


def stopped_evaluation(
    error: KeyboardInterrupt, runs: Sequence[Run], evaluators: Iterable[str], started: float, words: Sequence[str] = ()
) -> Interrupted:
    """Return the error of an evaluation that was stopped; args as above, `words` further ones of its command."""
    return Interrupted(
        f"{name_of(number_of(error))} stopped the evaluation. {_rest(runs[0], evaluators, started, words, runs[1:])}",
        number_of(error),
    )


def stopped_finetuning(error: KeyboardInterrupt, run: Run) -> Interrupted:
    """Return the error of a fine-tuning that was stopped, with the rows of its table that are written."""
    by, files = name_of(number_of(error)), list(run.evaluations.glob("finetune*.json"))
    file = max(files, key=lambda file: file.stat().st_mtime, default=None)
    rows = list(json.loads(file.read_text(encoding="utf-8"))["rows"]) if file is not None else []
    kept = f"the rows {', '.join(rows)} are in {file.with_suffix('.md')}" if file else "no row of its table is done"
    if len(files) > 1:
        kept += f", and the {len(files) - 1} tables before it are beside it"
    return Interrupted(f"{by} stopped the fine-tuning: {kept}; start it again for the rest.", number_of(error))


def _rest(
    run: Run, evaluators: Iterable[str], started: float, words: Sequence[str] = (), others: Sequence[Run] = ()
) -> str:
    """Return which tables are written, and the command that measures the others."""
    files = {name: run.evaluations / f"{name}.json" for name in evaluators}
    done = [name for name, file in files.items() if file.is_file() and file.stat().st_mtime >= started]
    left = [name for name in files if name not in done]
    folders = " ".join(quote(str(each.folder)) for each in (run, *others))
    given = "".join(f" {quote(word)}" for word in (*words, *(w for name in left for w in ("--with", name))))
    kept = f"{', '.join(done)} {'is' if len(done) == 1 else 'are'} written" if done else "No table is written yet"
    return f"{kept}; measure {'the rest' if done else 'them'} with `sensorium evaluate {folders}{given}`."


def now() -> float:
    """Return the time as file systems tell it, a second early: some keep whole seconds."""
    return time.time() - 1

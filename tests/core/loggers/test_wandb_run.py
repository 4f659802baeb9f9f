import sys
from types import SimpleNamespace

from sensorium.loggers.wandb_run import WandB


def test_a_resumed_training_continues_its_run(tmp_path, monkeypatch):
    """The library is a stand-in that notes its calls: the real one asks for an account."""
    seen = []

    def init(**options):
        seen.append(options)
        return SimpleNamespace(
            id=options["id"] or "abc",
            log=lambda metrics, step: seen.append((step, metrics)),
            save=lambda path, **more: seen.append(path),
            finish=lambda exit_code: seen.append(exit_code),
        )

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    for step, ending in ((0, "interrupted"), (10, "finished")):
        logger = WandB("birds", group="seeds", offline=True)
        logger.start(tmp_path, {"name": "x"}, step)
        logger.log(step + 10, {"loss": 1.0})
        logger.log_file(tmp_path / "knn.md")
        logger.close(ending)
    first, second = seen[0], seen[4]
    assert (first["project"], first["group"], first["name"]) == ("birds", "seeds", tmp_path.name)
    assert (first["id"], first["mode"], first["config"]) == (None, "offline", {"name": "x"})
    assert second["id"] == "abc"
    assert seen[1:4] == [(10, {"loss": 1.0}), str(tmp_path / "knn.md"), 1]
    assert seen[5:] == [(20, {"loss": 1.0}), str(tmp_path / "knn.md"), 0]

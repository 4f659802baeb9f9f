"""`python -m docs.generate`: write every generated page; `--images` draws the views of modalities as well.

`--synchronizations` counts them anew, of every objective with every modality, and `--examples` runs every example to
show what it prints, which both take minutes.
"""

from __future__ import annotations

import sys

from docs.generate.pages import DOCS, REFERENCE, generated, pages


def main() -> None:
    """Write the pages, and remove those of things that are gone."""
    if "--images" in sys.argv[1:]:
        from docs.generate.view_images import draw_all

        draw_all()
    if "--synchronizations" in sys.argv[1:]:
        from docs.generate.synchronizations_page import synchronizations_page

        (REFERENCE / "synchronizations.md").write_text(synchronizations_page(), encoding="utf-8")
    if "--examples" in sys.argv[1:]:
        from docs.generate.example_pages import run_examples

        run_examples()
    written = pages()
    for path in generated() - set(written):
        path.unlink()
    for path, text in written.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    print(f"{len(written)} pages written below {DOCS}.")


if __name__ == "__main__":
    main()

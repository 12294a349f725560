"""The report page, parsed as a browser would, from numbers that stand for no experiment."""

from html.parser import HTMLParser

import numpy as np
import pytest

from experiments.runs.report import write_report
from ganno_jax import plots

HOSTILE = "<script>alert('x')</script> & \"quoted\""
ROW = {
    "policy": "agents",
    "kind": "agents",
    "peak": None,
    "difference": -0.1,
    "log_loss": -2.0,
    "log_loss_lower": -2.1,
    "log_loss_upper": -1.9,
    "log_loss_iqm": -2.0,
    "auc": -1.5,
    "accuracy": 0.9,
    "accuracy_median": 0.9,
    "accuracy_worst_decile": float("nan"),
    "selection_log_loss": -2.2,
    "selection_accuracy": 0.9,
    "speedup": float("nan"),
    "improvement": 0.7,
    "share_diverged": 0.0,
}


class Page(HTMLParser):
    """Tags with their attributes, and the text inside each kind of tag."""

    VOID = ("meta", "img", "br")

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.open = [], {}, []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes another tag"

    def handle_data(self, data):
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)


@pytest.fixture
def figure_path(tmp_path):
    figure = plots.schedules(np.arange(5), {"cosine": np.ones(5)})
    return plots.save(figure, tmp_path / "figures" / "schedules.png")


def written(folder, **changed):
    arguments = {
        "title": "Test only",
        "summary": {"final_loss": -2.0, "runs": 1200},
        "tables": [("All policies", [ROW, ROW | {"policy": "cosine", "log_loss": -1.0}])],
        "figures": [],
        "config": {"seed": 0},
    }
    path = write_report(folder, **(arguments | changed))
    assert path == folder / "report.html"
    page = Page(path.read_text(encoding="utf-8"))
    assert page.open == []  # every tag is closed
    return page


def test_the_page_stands_alone(tmp_path, figure_path):
    page = written(tmp_path, figures=[("Two schedules.", figure_path)])
    assert not {"script", "link", "iframe", "a"} & {tag for tag, _ in page.tags}
    sources = [attrs[key] for _, attrs in page.tags for key in ("src", "href") if key in attrs]
    assert len(sources) == 1
    assert sources[0].startswith("data:image/png;base64,")
    assert "url(" not in page.texts["style"][0]


def test_everything_that_comes_in_is_escaped(tmp_path, figure_path):
    page = written(
        tmp_path,
        title=HOSTILE,
        summary={"headline": HOSTILE, HOSTILE: HOSTILE},
        tables=[(HOSTILE, [{HOSTILE: HOSTILE}]), ("b", [ROW | {"policy": HOSTILE}])],
        figures=[(HOSTILE, figure_path)],
        config={HOSTILE: HOSTILE},
        notes=[HOSTILE],
    )
    assert "script" not in {tag for tag, _ in page.tags}
    for tag in ("title", "h1", "p", "dt", "dd", "th", "td", "figcaption", "li"):
        assert HOSTILE in page.texts[tag], tag
    assert next(attrs["alt"] for tag, attrs in page.tags if tag == "img") == HOSTILE


def test_the_headline_opens_the_page_and_the_numbers_do_without_one(tmp_path):
    page = written(tmp_path, summary={"headline": "Agents win.", "runs": 3})
    assert page.texts["p"] == ["Agents win."]
    assert page.texts["dt"][0] == "runs"
    assert written(tmp_path).texts["p"] == ["Final loss -2; runs 1,200."]


def test_a_table_shows_the_columns_of_the_terminal_and_marks_the_best(tmp_path):
    page = written(tmp_path)
    assert "-2.000 [-2.100, -1.900]" in page.texts["td"]
    assert "diverged" in page.texts["th"]
    assert "worst" not in page.texts["th"]  # nothing but nan in that column
    assert page.texts["td"].count("never") == 2
    classes = [attrs.get("class") for tag, attrs in page.tags if tag == "td"]
    first, second = classes[: len(classes) // 2], classes[len(classes) // 2 :]
    assert [a for a, b in zip(first, second, strict=True) if a != b] == ["best"]
    meanings = " ".join(page.texts["dd"])
    assert "drawn at random" in meanings
    assert "worst tenth" not in meanings


def test_relative_figures_are_looked_up_in_the_run_folder(tmp_path, figure_path):
    page = written(tmp_path, figures=[("Schedules.", figure_path.relative_to(tmp_path))])
    image = next(attrs for tag, attrs in page.tags if tag == "img")
    # 6.7 inches at 144 dots each.
    assert int(image["width"]) == pytest.approx(6.7 * 144, abs=1)


def test_missing_and_foreign_figures_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"No figure at .*none\.png"):
        written(tmp_path, figures=[("x", "none.png")])
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(ValueError, match=r"text\.png is none"):
        written(tmp_path, figures=[("x", "text.png")])


def test_configurations_of_any_objects_are_shown(tmp_path):
    page = written(tmp_path, config={"folder": tmp_path, "rate": np.float32(0.5), "name": "ä"})
    shown = page.texts["pre"][0]
    assert str(tmp_path) in shown
    assert '"rate": 0.5' in shown
    assert "ä" in shown

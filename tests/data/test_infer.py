"""What `tiltyard init` writes is a configuration that Tiltyard reads."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.config import parse
from contracts.schema import Feature, Label, Schema
from data import infer, streams


def test_a_draft_is_read_back_with_the_types_of_the_file(tmp_path: Path) -> None:
    """CSV to TOML to configuration keeps names, types, blanks, classes and their order."""
    path = tmp_path / "Credit risk 2024.csv"
    rows = "".join(f"{i},{i / 4},c{i % 2},,2024-01-01,{i % 2}\n" for i in range(1, 40))
    path.write_text('count,the "amount",kind,nothing,day,risk\n' + rows + ",1.5,c0,,2024-01-01,1\n")
    text = infer.draft(path, "risk")
    model = parse(text).models["credit-risk-2024"]
    assert dict(model.features) == {"count": "int?", 'the "amount"': "float", "kind": "category"}
    assert (model.label.task, model.label.classes) == ("binary", (0, 1))
    assert "# nothing is left out: it has no value" in text
    assert "# day is left out: it holds times" in text
    assert "1 of 40 are missing" in text
    assert {learner.algorithm for learner in model.learners.values()} == {
        "linear",
        "hoeffding_tree",
        "hist_gradient_boosting",
    }


def test_a_value_is_drafted_as_a_regression(tmp_path: Path) -> None:
    """A label of many numbers has no classes; a name of digits gets a letter in front."""
    path = tmp_path / "2024.csv"
    path.write_text("a,y\n" + "".join(f"{i},{i * 1.5}\n" for i in range(50)))
    assert parse(infer.draft(path, "y")).models["model-2024"].label.is_regression


@pytest.mark.parametrize("name", ["bananas", "image-segments", "trump-approval", "synthetic"])
def test_a_bundled_stream_is_drafted_too(name: str) -> None:
    """Feature names such as "1" survive, and the schema is the stream's own."""
    stream = streams.stream(name)
    assert parse(infer.model_table(name, stream.schema)).models[name].schema == stream.schema


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=20))
def test_any_text_is_a_key_and_a_value(text: str) -> None:
    """Quotes, line breaks, control characters and emoji in a header do not break the file."""
    schema = Schema((Feature(text, "float"),), Label("multiclass", ("a", text + "b", "c")))
    model = parse(infer.model_table("m", schema, title=text)).models["m"]
    assert (model.schema, model.title) == (schema, text)


def test_real_streams_beside_the_checkout_are_drafted(datasets: Path) -> None:
    """Every file with a label in the shared folder gives a configuration."""
    for name in ("elec2", "bike_sharing_hourly_reg"):
        config = parse(infer.draft(datasets / f"{name}.csv.gz", "label"))
        assert config.models[name].label.task == ("binary" if name == "elec2" else "regression")

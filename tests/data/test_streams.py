"""Named streams: all rows fit their schema, and each says honestly where it comes from."""

import pytest

from data import streams
from data.csvfile import BadFile


@pytest.mark.parametrize("name", streams.names())
def test_every_row_of_a_named_stream_fits_its_schema(name: str) -> None:
    """Types, classes and the number of rows are as declared, to the last row."""
    stream = streams.stream(name)
    count = 0
    for features, label in stream:
        stream.schema.decode(features)
        stream.schema.label.decode(label)
        count += 1
    assert count == stream.length


@pytest.mark.parametrize("name", streams.names())
def test_a_stream_says_whether_it_was_ever_measured(name: str) -> None:
    """What a program made up is called so in the first words of its provenance."""
    stream = streams.stream(name)
    assert stream.provenance.startswith("Real: " if stream.real else "Made up")
    assert stream.description


def test_the_synthetic_streams_part_at_the_change_and_not_before() -> None:
    """The drift can be switched on: same rows and labels for the first half, another rule after it."""
    steady, drifting = list(streams.stream("synthetic")), list(streams.stream("synthetic-drift"))
    half = len(steady) // 2
    assert steady[:half] == drifting[:half]
    after = zip(steady[half:], drifting[half:], strict=True)
    assert sum(a != b for (_, a), (_, b) in after) > half // 10


def test_a_wrong_name_is_answered_with_the_nearest() -> None:
    """A typing error names what was meant."""
    with pytest.raises(BadFile, match='did you mean "bananas"'):
        streams.stream("banana")

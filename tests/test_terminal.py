import pytest

from audiomamba.terminal import format_number, format_table


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    text = format_table([("name", "count"), ("a", "1"), ("much longer", "1234567")], "<>")

    assert text == "name           count\na                  1\nmuch longer  1234567\n"


def test_lines_have_no_blanks_at_the_end() -> None:
    assert format_table([("name", "note"), ("a", "")], "<<") == "name  note\na\n"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (12, "12"), (0.89751, "0.898"), (0.00012345, "0.000123"), (-2.5, "-2.500")],
)
def test_numbers_are_rounded(value: float | None, text: str) -> None:
    assert format_number(value) == text

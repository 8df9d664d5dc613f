"""Columns of text in which some values look like numbers."""

import random

from plugins.high import MANY, High, begun, cursor_after, later, of_texts
from plugins.ordering import after, highest, parse, plain, predicate

IDS = [f"{n:024x}" for n in range(0x5F00000000000000_00000000, 0x5F00000000000000_00000000 + 40)]
NUMBER = "5f0000000000000000000000".replace("f", "9")
LOOKS_ELSE = [NUMBER, "700000000000000000000e12"]


def test_among_ids_the_highest_is_the_highest_text() -> None:
    values = [*IDS, *LOOKS_ELSE]
    random.Random(1).shuffle(values)
    high = High().over(values[:30]).over(values[30:])
    assert parse(high.value(text=False)) == (0, max(values))
    cursor = high.value(text=False)
    assert plain(cursor) == max(values) == "700000000000000000000e12"
    assert parse(highest(IDS[0], cursor)) == parse(cursor)
    assert begun(cursor).over(IDS).value(text=True) == cursor


def test_a_few_marks_of_what_is_missing_make_no_column_of_text() -> None:
    high = High().over(["1", "2", "NA", "n/a", "unknown"])
    assert high.value(text=False) == "2"
    many = High()
    for n in range(40):
        many = many.over(["NA", str(n), str(n + 1)])
    assert many.value(text=False) == "40"


def test_where_the_cursor_was_text_it_stays_text() -> None:
    high = High().over([NUMBER])
    assert high.value(text=True) == {"text": NUMBER}
    assert high.value(text=False) == NUMBER
    assert High().over([7, None, True]).value(text=True) == 7


def test_text_bounds_take_all_texts() -> None:
    keep = after(IDS[-1])
    assert [
        value for value in (*LOOKS_ELSE, IDS[0], "6a", 10**30, None, "", {"text": "7"}) if keep(value)
    ] == [
        "700000000000000000000e12",
        "6a",
    ]
    assert after({"text": "12"})("13")
    assert not after({"text": "12"}, inclusive=True)("11")
    inside = predicate("0010k", "0020k")
    assert [value for value in ("0010k", "0015", "0020k", 15, "NA") if inside(value)] == ["0010k", "0015"]


def test_who_goes_on_is_not_misled_by_a_few_values_of_another_kind() -> None:
    """Ten records are left of many ids, and one of them looks like a number: then no text was ever read again."""
    found = High().over(IDS).value(text=False)
    assert begun(found).over([*IDS[:9], NUMBER]).value(text=False) == IDS[-1]
    assert High().joined(found).over([*IDS[:9], "6" * 24]).value(text=False) == {"text": "6" * 24}
    assert begun("1002").over(f"NA{n}" for n in range(MANY)).value(text=False) == "1002"
    assert begun(None) == High()


def test_of_two_kinds_the_later_is_known() -> None:
    assert later("1002", "Z9") == "Z9"
    assert (later("NA", 5), later(5, "NA")) == (5, 5), "a mark of a missing value is no kind"
    assert (later(7, 5), later("b", "a"), later(3, None), later(None, "x")) == (7, "b", 3, "x")


def test_the_cursor_of_many_shards_is_text_where_most_have_found_texts() -> None:
    assert cursor_after(None, [*IDS[:20], NUMBER, None]) == IDS[19]
    assert cursor_after(None, [*IDS[:20], "6" * 24]) == {"text": "6" * 24}
    assert cursor_after(None, ["NA", "NA", 5, None]) == 5
    assert cursor_after(None, [{"text": "6" * 24}, IDS[0]]) == {"text": "6" * 24}
    assert cursor_after(None, [*["NA"] * 20, 5]) == cursor_after("NA", ["n/a", 5]) == 5
    assert cursor_after(None, [*IDS[:20], NUMBER, "unknown"]) == IDS[19]
    assert begun("NA").over([1, 2]).value(text=False) == 2
    assert cursor_after("abc", [5]) == "abc", "numbers would never let a text be read again"
    assert cursor_after("abc", ["abd", None]) == "abd"
    assert cursor_after(None, []) is None


def test_a_mark_that_was_all_there_was_stops_nothing() -> None:
    """A first run that found no value but "NA"."""
    cursor = High().over(["NA"]).value(text=False)
    assert cursor == "NA"
    come = ["NA", "2024-01-01", "5", 7, "null"]
    assert [value for value in come if after(cursor)(value)] == ["2024-01-01", "5", 7, "null"]
    assert [value for value in come if after(cursor, inclusive=True)(value)] == come
    assert High().over(["NA", "2024-01-01"]).value(text=of_texts(cursor)) == "2024-01-01"
    assert of_texts("a1")
    assert of_texts({"text": "12"})
    assert not of_texts("12")
    assert not of_texts(None)


def test_names_are_no_marks() -> None:
    """Among names one that looks like a number is text; it neither is collected each time nor becomes the cursor."""
    assert not after("smith")("100")
    assert High().over(["smythe", "900"]).value(text=of_texts("smith")) == "smythe"

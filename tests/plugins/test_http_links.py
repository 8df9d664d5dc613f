"""The Link header as servers write it (RFC 8288)."""

import pytest
from yarl import URL

from plugins.http_fetch import links

BASE = URL("http://host/a/items?page=1")


@pytest.mark.parametrize(
    ("headers", "following"),
    [
        ([], None),
        (['</x?p=2>; rel="next"'], "/x?p=2"),
        (["</x?p=2>;rel=next"], "/x?p=2"),
        (['</x?p=2>; REL="Next last"'], "/x?p=2"),
        (['</x?p=2>; rel="last next"; title="the end"'], "/x?p=2"),
        (['</x?a=1,2&p=2>; rel="next"'], "/x?a=1,2&p=2"),
        (['</x?p=1>; rel="first", </x?p=2>; rel="next"'], "/x?p=2"),
        (['</x?p=1>; rel="first"', '</x?p=2>; rel="next"'], "/x?p=2"),
        (['</x?p=1>; title="<a, b>; rel=\\"next\\""; rel="prev", </x?p=2>; rel="next"'], "/x?p=2"),
        (['</x?p=2>; rel="next"; rel="prev"'], "/x?p=2"),
        (['</x?p=2>; rel="next", </x?p=3>; rel="next"'], "/x?p=2"),
        (['<?p=2>; rel="next"'], "/a/items?p=2"),
        (['<http://host:70000/>; rel="next"'], None),
        (['</x?p=2>; rel="nextish"', "</x", "rel=next", '"', '</x>; rel="'], None),
    ],
)
def test_the_next_page_is_found(headers: list[str], following: str | None) -> None:
    expected = None if following is None else BASE.join(URL(following))
    assert links(headers, BASE).get("next") == expected

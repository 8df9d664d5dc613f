"""What decides how a task is queued, read from its spec."""

from node.stewardship.specs import decode_brief


def test_a_placement_is_read() -> None:
    raw = b'{"source":{"plugin":"csv"},"sink":[{"plugin":"jsonl"}],"placement":{"region":"eu","nodes":["a"]}}'
    assert decode_brief(raw).placement == {"region": "eu", "nodes": ["a"]}
    assert decode_brief(b'{"source":{"plugin":"csv"},"sink":[]}').placement is None

"""Where a content filter's mail goes."""

import pytest

from mailsuite.queue.route import Route, route_of
from mailsuite.rewrite.rewriter import Resolution

PLAIN = Resolution("smtp", "b.test", "a@b.test", "default")


@pytest.mark.parametrize(("content_filter", "fallback", "want"), [
    ("", "", Route("smtp", "b.test")), ("", "me.test", Route("smtp", "b.test")),
    ("scan:[127.0.0.1]:10024", "me.test", Route("scan", "[127.0.0.1]:10024")),
    ("scan:", "", Route("scan", "b.test")), ("scan", "", Route("scan", "b.test")),
    ("scan:", "me.test", Route("scan", "me.test"))])
def test_route(content_filter: str, fallback: str, want: Route) -> None:
    assert route_of(PLAIN, "a@b.test", content_filter, fallback) == want

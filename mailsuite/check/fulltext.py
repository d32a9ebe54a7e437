"""What `plugin { }` says about full text and has another meaning here, or none."""

import re
from collections.abc import Iterator

from mailsuite.check.finding import Finding, note, warning
from mailsuite.check.site import Site
from mailsuite.fulltext.params import SIZES, FullTextOptions, readable_size

_OURS = frozenset({"", "mailsuite", "yes"})
# Why nothing comes of a setting.
_WITHOUT_EFFECT = {
    "fts_languages": "texts are found as they stand, in any language",
    "fts_language_config": "texts are found as they stand, in any language",
    "fts_filters": "words are kept as they stand",
    "fts_tokenizers": "words are what stands between white space",
    "fts_tokenizer": "words are what stands between white space",
    "fts_decoder": "attachments are not turned into text",
    "fts_tika": "attachments are not turned into text",
    "fts_header_excludes": "all headers are kept",
    "fts_header_includes": "all headers are kept",
    "language": "texts are found as they stand, in any language",
    "fts_index_timeout": "a search never waits for the index",
}


def check_fulltext(site: Site) -> Iterator[Finding]:
    if site.dovecot is None:
        return
    plugin, place = site.dovecot.plugin, (site.dovecot.path, 0)
    backend = plugin.get("fts", "").strip()
    if FullTextOptions.of(plugin).enabled and backend.lower() not in _OURS:
        yield note(f"fts = {backend}: our own full text is used; that of {backend} is not read, and its files may be "
                   "removed", place)
    for name in sorted(plugin):
        base = next((known for known in _WITHOUT_EFFECT if re.fullmatch(rf"{known}(_.*|\d*)", name)), None)
        if base is not None:
            yield note(f"{name} has no effect: {_WITHOUT_EFFECT[base]}", place)
        if name in SIZES and not readable_size(plugin[name]):
            yield warning(f"{name} = {plugin[name]}: a number is wanted, with k, M or G behind it; the default is used",
                          place)

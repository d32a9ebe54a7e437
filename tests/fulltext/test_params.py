"""What plugin { } says about full text."""

import pytest

from mailsuite.fulltext.params import FullTextOptions


@pytest.mark.parametrize(("plugin", "want"), [
    ({}, FullTextOptions()),
    ({"fts": "no"}, FullTextOptions(enabled=False)),
    ({"fts": "solr", "fts_solr": "url=http://x"}, FullTextOptions()),
    ({"fts_autoindex": "yes", "fts_autoindex_exclude": "\\Trash", "fts_autoindex_exclude2": '"Lists*"'},
     FullTextOptions(autoindex=True, exclude=("\\Trash", "Lists*"))),
    ({"fts_enforced": "body", "fts_autoindex_max_recent_msgs": "999"}, FullTextOptions(enforced=True, max_recent=999)),
    ({"fts_enforced": "no"}, FullTextOptions()),
    ({"fts_message_max_size": "5 MB", "fts_index_max_size": "0", "fts_least_messages": "1k"},
     FullTextOptions(message_size=5 << 20, index_size=0, least_messages=1024)),
    ({"fts_message_max_size": "lots", "fts_index_max_size": "-1"}, FullTextOptions()),
])
def test_settings(plugin: dict[str, str], want: FullTextOptions) -> None:
    assert FullTextOptions.of(plugin) == want


@pytest.mark.parametrize(("names", "uses", "taken"), [
    (["INBOX"], [], True),
    (["Lists/a"], [], False),
    (["INBOX.Spam", "Spam"], [], False),
    (["Papierkorb"], ["\\Trash"], False),
    (["[odd]"], [], False),
    (["o"], [], True),
])
def test_which_mailboxes_are_taken_by_themselves(names: list[str], uses: list[str], taken: bool) -> None:
    options = FullTextOptions(autoindex=True, exclude=("Lists*", "Spam", "\\trash", "[odd]"))
    assert options.takes_by_itself(names, uses) is taken
    assert not FullTextOptions().takes_by_itself(names, uses)

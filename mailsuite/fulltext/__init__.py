"""Full text of mail: which messages hold a text, told without reading them.

segment.py has the format: the words of some thousand messages and where they stand. database.py keeps segments of all
mailboxes of a user in a file that may be deleted at any time. Words come from who can read messages
(imap/search_words.py), the work is begun by access/indexing.py.

A word is what stands between white space, folded as SEARCH folds it. So a text without white space is in a message if,
and only if, it is in one of its words: the answer is exact, however short the text, wherever in a word it stands. Of a
text with white space each piece must be in a word: that leaves messages that have to be read.
See: docs/search.md; what else was tried stands in docs/performance.md.
"""

"""The whole story of a message, from the mail log and the queue: what `mailsuite trace` tells.

    files.py    the log with its rotated and compressed parts, as a stream of blocks of lines
    lines.py    a line: when, which program, which queue id; years that the line does not tell
    search.py   first pass: which queue ids belong together
    words.py    a line's text as an event in plain words
    story.py    second pass: lives of queue ids, joined into stories
    now.py      what the queue says, and what happens next
    text.py     for people; model.py: the dataclasses, and JSON
"""

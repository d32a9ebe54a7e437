"""THREAD: REFERENCES, REFS and ORDEREDSUBJECT (RFC 5256, draft-ietf-morg-inthread).

    thread_references(messages, by_subject=True) -> roots       messages: in the order of the mailbox
    thread_subjects(messages) -> roots
    render(roots, number) -> b"(2)(3 6 (4 23)(44 7 96))"

Nothing recurses, so a chain of a hundred thousand replies is no danger.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Mail:
    """What threading needs to know of a message. subject: its base subject, folded."""

    uid: int
    date: int
    subject: str = ""
    reply: bool = False
    message_id: bytes = b""
    references: tuple[bytes, ...] = ()


@dataclass(eq=False, slots=True)
class Node:
    """A message in its thread; mail None: a message that others refer to and that is not here."""

    mail: Mail | None = None
    parent: "Node | None" = None
    children: "list[Node]" = field(default_factory=list)
    replies: int = 0        # how many have this as parent; children is filled when that is final
    date: int = 0           # what the thread is sorted by


_ID = re.compile(rb"<([^<>]*)>")
_PLAIN_ID = re.compile(rb"<([^<>\s@]*@[^<>\s]*)>")
MAX_REFERENCES = 1000
MAX_WALK = 10_000       # steps up a chain of replies in search of a loop


def message_ids(value: bytes | None) -> tuple[bytes, ...]:
    """The ids in a References or Message-ID field; white space in one does not count."""
    if not value:
        return ()
    found = _PLAIN_ID.findall(value)
    if len(found) == value.count(b"<") <= MAX_REFERENCES:
        return tuple(found)
    found = _ID.findall(value)[:MAX_REFERENCES]
    return tuple(b"".join(each.split()) for each in found if b"@" in each)


def _linked(node: Node, ancestor: Node) -> bool:
    """Is ancestor above node, or node itself? Yes, too, of a chain longer than MAX_WALK: it is left as it is."""
    if not ancestor.replies:
        return node is ancestor
    above: Node | None = node
    for _ in range(MAX_WALK):
        if above is ancestor:
            return True
        if above is None:
            return False
        above = above.parent
    return True


def _link(parent: Node, child: Node) -> None:
    child.parent = parent
    parent.replies += 1


def _unlink(node: Node) -> None:
    if node.parent is not None:
        node.parent.replies -= 1
        node.parent = None


def _adopt(parent: Node, child: Node) -> None:
    """Link after the tree was built."""
    _link(parent, child)
    parent.children.append(child)


def _build(messages: Iterable[Mail]) -> list[Node]:
    """RFC 5256, REFERENCES, steps 1 and 2: all nodes without parents, in order of appearance."""
    by_id: dict[bytes, Node] = {}
    nodes: list[Node] = []

    def node_of(message_id: bytes) -> Node:
        node = by_id.get(message_id)
        if node is None:
            node = by_id[message_id] = Node()
            nodes.append(node)
        return node

    for mail in messages:
        node = by_id.get(mail.message_id) if mail.message_id else None
        if node is None or node.mail is not None:       # no id, or one that another message has
            node = Node(mail)
            nodes.append(node)
            if mail.message_id and mail.message_id not in by_id:
                by_id[mail.message_id] = node
        else:
            node.mail = mail
        above: Node | None = None
        for reference in mail.references:
            each = node_of(reference)
            if above is not None and each.parent is None and not _linked(above, each):
                _link(above, each)
            above = each
        if node.parent is not None:
            _unlink(node)
        if above is not None and not _linked(above, node):
            _link(above, node)
    for node in nodes:
        if node.parent is not None:
            node.parent.children.append(node)
    return [node for node in nodes if node.parent is None]


def _prune(roots: list[Node]) -> list[Node]:
    """Step 3: messages that are not here go; their replies move up. At the top one stays to hold several together."""
    order: list[Node] = []
    waiting = list(roots)
    while waiting:
        node = waiting.pop()
        order.append(node)
        waiting += node.children
    for node in reversed(order):        # children before parents
        kept: list[Node] = []
        for child in node.children:
            if child.mail is not None:
                kept.append(child)
            else:
                for grandchild in child.children:
                    grandchild.parent = node
                kept += child.children
        node.children = kept
    result: list[Node] = []
    for root in roots:
        if root.mail is None and len(root.children) <= 1:
            for child in root.children:
                child.parent = None
            result += root.children
        else:
            result.append(root)
    return result


def _sort(roots: list[Node], *, by_last: bool) -> None:
    """Siblings by date; a root by its own date, its first reply's, or the newest of all (REFS)."""
    order: list[Node] = []
    waiting = list(roots)
    while waiting:
        node = waiting.pop()
        order.append(node)
        waiting += node.children
    newest: dict[int, int] = {}
    for node in reversed(order):
        children = node.children
        node.date = node.mail.date if node.mail is not None else min((child.date for child in children), default=0)
        if by_last:
            newest[id(node)] = max([node.date, *(newest[id(child)] for child in children)])
        if len(children) > 1:
            children.sort(key=lambda child: (child.date, child.mail.uid if child.mail else 0))
    if by_last:
        for root in roots:
            root.date = newest[id(root)]
    roots.sort(key=lambda root: (root.date, _first_uid(root)))


def _first_uid(node: Node) -> int:
    while node.mail is None and node.children:
        node = node.children[0]
    return node.mail.uid if node.mail is not None else 0


def thread_references(messages: Sequence[Mail], *, by_subject: bool) -> list[Node]:
    """REFERENCES (by_subject), or REFS, which leaves subjects alone and puts the thread that moved last at the end."""
    roots = _prune(_build(messages))
    _sort(roots, by_last=not by_subject)
    if by_subject:
        roots = _join_subjects(roots)
        _sort(roots, by_last=False)
    return roots


def _subject(root: Node) -> tuple[str, bool]:
    mail = root.mail or (root.children[0].mail if root.children else None)
    return (mail.subject, mail.reply) if mail is not None else ("", False)


def _join_subjects(roots: list[Node]) -> list[Node]:
    """Step 5: threads with one subject become one."""
    table: dict[str, Node] = {}
    for root in roots:
        subject, reply = _subject(root)
        if not subject:
            continue
        known = table.get(subject)
        if known is None or (root.mail is None and known.mail is not None) or (
                known.mail is not None and _subject(known)[1] and not reply):
            table[subject] = root
    result: list[Node] = []
    gone: set[int] = set()
    for root in roots:
        subject, reply = _subject(root)
        known = table.get(subject) if subject else None
        if known is None or known is root:
            result.append(root)
            continue
        gone.add(id(root))
        _join(known, root, reply, table, subject, result)
    return [root for root in result if id(root) not in gone and root.parent is None]


def _join(known: Node, root: Node, reply: bool, table: dict[str, Node], subject: str, result: list[Node]) -> None:
    if known.mail is None and root.mail is None:
        for child in root.children:
            child.parent = known
        known.children += root.children
    elif known.mail is None or (reply and not _subject(known)[1]):
        _adopt(known, root)
    else:       # neither is the other's reply: a common parent that is not here
        above = Node()
        for position, each in enumerate(result):
            if each is known:
                result[position] = above
        _adopt(above, known)
        _adopt(above, root)
        table[subject] = above
        if above not in result:
            result.append(above)


def thread_subjects(messages: Sequence[Mail]) -> list[Node]:
    """ORDEREDSUBJECT: one level; the oldest message of a subject first, the others its replies."""
    groups: dict[str, list[Mail]] = {}
    for mail in sorted(messages, key=lambda mail: (mail.date, mail.uid)):
        groups.setdefault(mail.subject, []).append(mail)
    roots = []
    for mails in groups.values():
        root = Node(mails[0], date=mails[0].date)
        for mail in mails[1:]:
            _adopt(root, Node(mail, date=mail.date))
        roots.append(root)
    return roots


def render(roots: Sequence[Node], number: Callable[[int], int]) -> bytes:
    """The threads as they stand in the reply. number: what is shown for a UID."""
    out: list[str] = []
    waiting: list[Node | str] = []
    for root in reversed(roots):
        waiting += [")", root, "("]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            out.append(each)
            continue
        if each.mail is not None:
            out.append(str(number(each.mail.uid)))
        if len(each.children) == 1 and each.mail is not None:
            waiting.append(each.children[0])
            out.append(" ")
        else:
            if each.children and each.mail is not None:
                out.append(" ")
            for child in reversed(each.children):
                waiting += [")", child, "("]
    return "".join(out).encode()

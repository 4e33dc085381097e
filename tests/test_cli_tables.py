import io

from rich.console import Console

from sipagent.cli.terminal import Column, _fit, cell, coded, newest, show_fields, show_table, user_part


def screen(width: int) -> Console:
    return Console(file=io.StringIO(), width=width, markup=False, highlight=False)


def printed(screen: Console) -> str:
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


def test_the_gap_gives_way_before_what_shrinks_and_that_before_the_rest() -> None:
    assert _fit([10, 10], [False, True], 30) == (2, [10, 10])
    assert _fit([10, 10], [False, True], 21) == (1, [10, 10])
    assert _fit([10, 30, 12], [False, True, True], 32) == (1, [10, 8, 12])
    assert _fit([10, 30], [False, True], 5) == (1, [10, 6])


def test_columns_need_their_room() -> None:
    columns: list[Column[str]] = [
        Column("name", lambda row: row),
        Column("more", lambda row: "here", room=100),
    ]
    narrow, wide = screen(80), screen(100)
    show_table(["x"], columns, narrow)
    show_table(["x"], columns, wide)
    assert "more" not in printed(narrow) and "here" in printed(wide)


def test_columns_leave_in_their_order_before_any_is_cut_off() -> None:
    row = ("20261124T222000123-w3-482913", "24 Nov 23:20", "+33612345678", "connected", "not_allowed")
    columns: list[Column[tuple[str, ...]]] = [
        Column("id", lambda row: row[0]),
        Column("began", lambda row: row[1], goes=2),
        Column("caller", lambda row: row[2], goes=3),
        Column("outcome", lambda row: row[3], goes=1),
        Column("decision", lambda row: row[4]),
    ]
    for width, there in ((80, "01234"), (77, "01234"), (75, "0124"), (60, "024"), (45, "04"), (30, "04")):
        out = screen(width)
        show_table([row], columns, out)
        last = printed(out).splitlines()[-1]
        assert [str(place) for place in range(5) if row[place] in last] == [*there], width


def test_cells_are_text_and_nothing_else() -> None:
    assert cell("[red]x\x1b[0m").plain == "[red]x\\x1b[0m"
    assert cell(None).plain == "–"
    assert (shown := coded("status", "closed")) and shown.style == "green"
    assert coded("status", None) is None
    assert len(cell("A" * 10_000).plain) == 200


def test_a_pipe_gets_the_same_lines() -> None:
    rows = [("one", "é"), ("日本", "12:00:00")]
    columns: list[Column[tuple[str, str]]] = [
        Column("name", lambda row: row[0]),
        Column("length", lambda row: row[1], right=True),
        Column("more", lambda row: "x" * 60 if row[0] == "one" else None, shrinks=True, room=100),
    ]
    lines = []
    for width in (399, 400):
        out = screen(width)
        show_table(rows, columns, out)
        lines.append([line.rstrip() for line in printed(out).splitlines()])
    assert lines[0] == lines[1] and len(lines[0]) == 3


def test_fields_fold_and_lose_nothing() -> None:
    console = screen(30)
    show_fields([("SHA-256", "ab" * 32), ("empty", None)], console, "File")
    assert "".join(printed(console).split()).count("ab") >= 32
    assert "–" in printed(console)


def test_the_user_part_is_what_an_office_knows() -> None:
    assert user_part("sip:201@pbx.example.net") == "201"
    assert user_part("201") == "201"
    assert user_part(None) is None
    assert user_part("sip:@x") == "sip:@x"


def test_a_screen_gets_the_newest_and_a_pipe_gets_all() -> None:
    rows = list(range(150))
    terminal = Console(file=io.StringIO(), width=80, force_terminal=True, highlight=False)
    assert newest(rows, terminal, None) == rows[:100]
    assert "The newest 100 of 150" in printed(terminal)
    assert newest(rows, terminal, 150) == rows
    assert newest(rows, screen(80), None) == rows

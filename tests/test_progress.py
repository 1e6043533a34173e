import pytest

from graph_metamers import progress


def test_nothing_is_drawn_where_there_is_no_terminal(monkeypatch, capsys):
    monkeypatch.setattr(progress, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(progress, "REFRESH_SECONDS", 0.0)
    with progress.progress_bar("Searching") as watch:
        watch(1, 10, 0.5)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("terminal", "patience", "shown", "told"),
    [
        ("0", 0.0, True, "1/2 layer1: matched\n"),
        ("0", 60.0, True, ""),
        ("0", 0.0, False, ""),
        ("1", 0.0, True, ""),
    ],
)
def test_a_log_gets_lines_after_a_while(terminal, patience, shown, told, monkeypatch, capsys):
    monkeypatch.setenv("TTY_COMPATIBLE", terminal)
    monkeypatch.setattr(progress, "PATIENCE_SECONDS", patience)
    say = progress.progress_lines(shown=shown)
    say("1/2 layer1: matched")
    assert capsys.readouterr() == ("", told)


@pytest.mark.parametrize("patience", [0.0, 60.0])
def test_a_terminal_sees_a_bar_after_a_while_only(patience, monkeypatch, capsys):
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setattr(progress, "PATIENCE_SECONDS", patience)
    monkeypatch.setattr(progress, "REFRESH_SECONDS", 0.0)
    with progress.progress_bar("Searching", value="loss") as watch:
        watch(3, 10, 0.25)
    drawn = capsys.readouterr().err
    assert ("3/10 steps · loss 2.5e-01" in drawn) == (patience == 0)
    assert bool(drawn) == (patience == 0)


def test_the_bar_goes_when_something_is_raised(monkeypatch, capsys):
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setattr(progress, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(progress, "REFRESH_SECONDS", 0.0)

    def interrupted():
        with progress.progress_bar("Searching") as watch:
            watch(3, 10, 0.25)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert "\x1b[?25h" in capsys.readouterr().err  # the cursor is shown again

"""Command lines of before: every old word is the new one, and new words stay what they are."""

import pytest

from kinecast.nodes.cli.commands import evaluate, train
from kinecast.nodes.cli.main import command_parser, main
from kinecast.nodes.cli.old_words import EVALUATE, TRAIN, translated

OLD = [
    ("evaluate s.mcap shelf/ --fps 25", "evaluate truth s.mcap shelf/ --fps 25"),
    ("evaluate --json - s.mcap truth.mcap --variants", "evaluate truth --json - s.mcap truth.mcap --variants"),
    ("evaluate s.npz synthetic --gate-m 0.3", "evaluate truth s.npz synthetic --gate-m 0.3"),
    ("evaluate s.mcap held-out --json x.json", "evaluate holdout s.mcap --json x.json"),
    ("evaluate --json x.json s.mcap held-out", "evaluate holdout --json x.json s.mcap"),
    ("evaluate s.mcap views --lift shipped", "evaluate views s.mcap --lift shipped"),
    ("evaluate s.mcap --body male body-views", "evaluate body-views s.mcap --body male"),
    ("evaluate s.mcap theirs.TRC --offset-frames -3", "evaluate other s.mcap theirs.TRC --offset-frames -3"),
    ("evaluate lifter motion --weights a b", "evaluate lifter motion --weights a b"),
    ("evaluate --noise n.toml lifter motion", "evaluate lifter --noise n.toml motion"),
    ("evaluate spin --datasets data more", "evaluate regressor --datasets data more"),
    ("evaluate spin motion --shelf shelf", "evaluate regressor motion --shelf shelf"),
    ("train spin motion -o run --rate 0.01", "train regressor motion -o run --rate 0.01"),
    ("train hidden motion -o t.toml", "train occlusion motion -o t.toml"),
    ("train curve motion -o out", "bench learning-curve motion -o out"),
    ("bench --json x.json", "bench parts --json x.json"),
    ("bench codec bus --json x.json", "bench parts codec bus --json x.json"),
    ("bench calibrate-people --walks 10 30", "bench calibrate-people --walks 10 30"),
]


@pytest.mark.parametrize(("old", "new"), OLD)
def test_an_old_line_is_the_new_one(old: str, new: str) -> None:
    assert translated(old.split()) == new.split()
    assert translated(new.split()) == new.split()
    name, *words = new.split()
    command_parser(name).parse_args(words)  # SystemExit where it does not go together


@pytest.mark.parametrize(
    ("old", "new", "name", "value"),
    [
        ("evaluate truth s t --gate-m 0.3", "evaluate truth s t --max-distance-m 0.3", "max_distance_m", 0.3),
        ("train lifter m -o o --about A=B", "train lifter m -o o --metadata A=B", "metadata", ["A=B"]),
        ("train lifter m -o o --rate 0.5", "train lifter m -o o --learning-rate 0.5", "learning_rate", 0.5),
        ("train lifter m -o o --sequences 3", "train lifter m -o o --batch-size 3", "batch_size", 3),
        ("train regressor m -o o --rate 0.5", "train regressor m -o o --learning-rate 0.5", "rate", 0.5),
        ("train regressor m -o o --share 0.3", "train regressor m -o o --mix-ratio 0.3", "share", 0.3),
        ("bench learning-curve m -o o --rate 0.5", "bench learning-curve m -o o --learning-rate 0.5", "rate", 0.5),
        ("bench calibrate-people --walks 7", "bench calibrate-people --walk-s 7", "walk_s", [7.0]),
    ],
)
def test_an_old_option_is_the_new_one(old: str, new: str, name: str, value: object) -> None:
    for line in (old, new):
        command, *words = line.split()
        assert getattr(command_parser(command).parse_args(words), name) == value


def test_every_subcommand_stays_what_it_is() -> None:
    assert tuple(evaluate.SUBCOMMANDS) == EVALUATE
    assert set(TRAIN.values()) <= set(train.SUBCOMMANDS) and not set(TRAIN) & set(train.SUBCOMMANDS)
    for word in EVALUATE:
        assert translated(["evaluate", word, "x", "views"]) == ["evaluate", word, "x", "views"]
    for args in (
        [],
        ["evaluate"],
        ["evaluate", "-h"],
        ["evaluate", "x"],
        ["train"],
        ["bench"],
        ["bench", "-h"],
        ["info", "spin"],
    ):
        assert translated(args) == args


def test_bench_alone_is_the_quick_parts() -> None:
    alone, named = (command_parser("bench").parse_args(words) for words in ([], ["parts"]))
    assert vars(alone) == vars(named) and alone.subcommand == "parts"
    one = command_parser("bench").parse_args(["codec", "--json", "x.json"])
    assert (one.subcommand, one.part) == ("parts", ["codec"])


@pytest.mark.parametrize(
    "line", ["evaluate views s.mcap --gate-m 0.3", "evaluate holdout s.mcap --weights x", "bench codec --walks 3"]
)
def test_an_option_of_another_subcommand_is_refused(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(line.split())
    assert "unrecognized arguments" in capsys.readouterr().err


def test_the_version_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out.startswith("kinecast ")

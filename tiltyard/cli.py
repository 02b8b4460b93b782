"""The command line. Each command imports what it needs when it runs, so that `--help` comes at once."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from contracts.quantities import ConfigError

Command = TypeVar("Command", bound=Callable[..., Any])

_EXPECTED = {
    "StateInUse", "CannotStart", "BadFile", "Unavailable", "UnknownVersion", "Stale", "Barred", "LeaseTaken",
    "LeaseLost", "NotRunning", "NothingToDo", "NoSlot", "Misfit",
    "ConnectionError", "TimeoutError", "ResponseError", "BusyLoadingError",
}  # fmt: skip
"""Names of exceptions whose message is meant for the reader; their homes are too heavy to import for this."""
_HOMES = ("tiltyard", "data", "registry", "contracts", "redis")


class Told(click.ClickException):
    """An error that a person can act on: one line, status 2."""

    exit_code = 2

    def show(self, file: Any = None) -> None:
        click.echo(f"tiltyard: {self.message}", err=True, file=file)


class Commands(click.Group):
    """Tells expected errors in one line, without a traceback."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except ConfigError as error:
            raise Told(str(error)) from error
        except Exception as error:  # what is not expected is raised again, with its traceback
            home = type(error).__module__.partition(".")[0]
            if home in _HOMES and type(error).__name__ in _EXPECTED:
                told = f"Redis does not answer: {error} Is Tiltyard running? Start it with `tiltyard up`."
                raise Told(told if home == "redis" else str(error)) from error
            raise


def _state_option(command: Command) -> Command:
    return click.option(
        "--state",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="DIR",
        help="State folder.",
    )(command)


def _model_option(command: Command) -> Command:
    return click.option("--model", metavar="NAME", help="Which model; needed where there are several.")(command)


def _port_option(command: Command) -> Command:
    return click.option(
        "--port-base", default=8700, show_default=True, type=click.IntRange(1, 65_000), metavar="N",
        help="First of the ports to listen on; the page is there.",
    )(command)  # fmt: skip


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="tiltyard")
def main() -> None:
    """Keeps a model good after it ships: a champion answers, challengers answer in shadow, evidence decides."""


@main.command()
@_state_option
@_port_option
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="[tiltyard.toml]")
def up(state: Path | None, port_base: int, config: Path | None) -> None:
    """Start everything on this machine, until Ctrl-C.

    Services whose address is given (TILTYARD_REDIS_URL, TILTYARD_MLFLOW_URL, TILTYARD_PREFECT_URL) are used and not
    started. Stopped and started again with the same state folder, it goes on where it was.
    """
    from tiltyard.up import run, settings_for

    run(settings_for(state, config, port_base))


@main.command()
@click.option("--stream", default=None, metavar="NAME", help="What to replay. [image-segments]")
@click.option("--exit", "leave", is_flag=True, help="Stop everything when the summary is printed.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), metavar="N", help="Rows per second.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Rows at most.")
@_state_option
@_port_option
def demo(leave: bool, **options: Any) -> None:
    """Watch the whole loop on a real stream, then read what it was worth.

    Starts everything, replays a stream with labels that come late, and ends in a one-page summary.
    """
    from tiltyard.demo import run

    sys.exit(run(leave=leave, **options))


class Replay(click.Command):
    """Its help ends in the kinds of drift."""

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        from data.drifts import KINDS

        with formatter.section('Kinds of --drift, as in "abrupt at=5000" or "unit column=x factor=1000 at=3 until=9"'):
            formatter.write_dl([(name, kind.__doc__ or "") for name, kind in KINDS.items()])
        with formatter.section("Each kind also takes"):
            formatter.write_dl([
                ("at=ROW", "the first row that may change, counted from 0 in the source; needed"),
                ("until=ROW", "the first one that is again as it was"),
                ("width=ROWS", "in more and more of the rows over so many"),
                ("period=ROWS", "for so many rows on, then for as many off, and so on"),
                ("seed=N", "other draws, where a kind draws"),
            ])  # fmt: skip


@main.command(cls=Replay)
@click.argument("source", metavar="STREAM|FILE.csv")
@_model_option
@click.option("--label-column", metavar="NAME", help="What to predict, in a CSV file.")
@click.option("--timestamp-column", default="timestamp", show_default=True, metavar="NAME", help="Left out.")
@click.option("--delay", type=click.IntRange(min=0), metavar="ROWS", help="Give each label so many rows later. [200]")
@click.option("--delay-seconds", type=click.FloatRange(min=0), metavar="N", help="Give each label N seconds later.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), metavar="N", help="Rows per second.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Rows at most.")
@click.option("--concurrency", default=1, type=click.IntRange(1, 256), metavar="N", help="Questions at once. [1]")
@click.option(
    "--drift", multiple=True, metavar="SPEC", help="Change the rows in a known way, from a row on; repeatable."
)
@click.option("--url", metavar="URL", help="Of the serving process; else that of the instance in --state.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@_state_option
def replay(source: str, **options: Any) -> None:
    """Ask a running instance about each row, and answer later with its label.

    Ctrl-C stops asking and still gives the labels that are held back; a second one leaves them, and says how many.
    """
    from tiltyard.replaying import run

    sys.exit(run(source, **options))


@main.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.csv")
@click.option("--label-column", required=True, metavar="NAME", help="What to predict.")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("tiltyard.toml"), show_default=True)
@click.option("--model", metavar="NAME", help="Name of the model. [the file's]")
@click.option("--task", type=click.Choice(["binary", "multiclass", "regression"]), help="[seen from the labels]")
@click.option("--force", is_flag=True, help="Replace the output where it exists.")
def init(file: Path, label_column: str, output: Path, model: str | None, task: Any, force: bool) -> None:
    """Write a commented tiltyard.toml from the columns of a CSV file."""
    from contracts.config import parse
    from data import infer

    text = infer.draft(file, label_column, name=model, task=task)
    parse(text)
    if output.exists() and not force:
        raise Told(f"{output} is there already: give --force to replace it, or another file with -o")
    try:
        output.write_text(text)
    except OSError as error:
        raise Told(f"{output}: cannot be written: {error.strerror}") from None
    click.echo(f"{output} is written: read it, then start with `tiltyard up --config {output}`")


@main.command()
@_state_option
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def status(state: Path | None, as_json: bool) -> None:
    """How each learner stands, what needs a person, who answers, and whether the streams flow."""
    from tiltyard.status import show

    show(state, as_json)


@main.command()
@_state_option
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def models(state: Path | None, as_json: bool) -> None:
    """Champion and challengers of each model, with their evidence."""
    from tiltyard import report

    report.models(state, as_json)


@main.command("ask-labels")
@_state_option
@_model_option
@click.option("--count", default=20, show_default=True, type=click.IntRange(1, 1000), metavar="N", help="At most.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def ask_labels(**options: Any) -> None:
    """The questions whose labels would decide most: unlabelled ones on which champion and challengers disagree.

    Where versions agree, a label moves no evidence about them. The page has the same list, to be answered by keyboard.
    """
    from tiltyard import ask_labels

    ask_labels.show(**options)


@main.command()
@_state_option
@_model_option
@click.option("--kind", default="", metavar="KIND,...", help="Only lines of these kinds, such as promoted,refused.")
@click.option("--since", default="", metavar="TIME", help="Only lines from this time on, such as 2026-11-01T12:00.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="The newest N lines.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def history(**options: Any) -> None:
    """Every decision with its reason, as the ledger has it, and whether its chain of hashes holds."""
    from tiltyard import ledgers

    if not ledgers.show(**options):
        sys.exit(1)


@main.command("live-at")
@click.argument("at", metavar="TIME")
@_state_option
@_model_option
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def live_at(**options: Any) -> None:
    """Which version answered at a time (ISO 8601, of the local zone where none is said), since when, and why."""
    from tiltyard import ledgers

    if not ledgers.live_at(**options):
        sys.exit(1)


@main.command("verify-ledger")
@_state_option
@_model_option
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def verify_ledger(**options: Any) -> None:
    """Check every line of the ledger against its chain of hashes.

    Says how many lines hold and the hash of the last one, which you may note elsewhere; or names the first line that
    was changed, is missing or was cut off, and ends in status 1.
    """
    from tiltyard import ledgers

    if not ledgers.verify(**options):
        sys.exit(1)


@main.command()
@click.argument("version", type=click.IntRange(min=1))
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write it as a page.")
@_model_option
@_state_option
def why(version: int, html: Path | None, model: str | None, state: Path | None) -> None:
    """Say why a version was promoted, rolled back, retired or given up, or why not yet.

    Its counts and bounds, guardrails, segments and labels, what it was made from, and what would change the verdict.
    The same is kept in the state folder and mailed when a decision is made.
    """
    from tiltyard.why import show

    show(state, model, version, html)


@main.command("what-if")
@click.option("--policy", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Rules to try.")
@click.option("--since", default="", metavar="TIME", help="From this time on. [the first decision]")
@click.option("--until", default="", metavar="TIME", help="Up to this time. [the end of the log]")
@click.option("--every", default="", metavar="SPAN", help="How often to look, such as 5m. [schedules.promote]")
@_state_option
@_model_option
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def what_if(**options: Any) -> None:
    """Replay what was decided from the log, and what other rules would have decided.

    Every verdict of the ledger is reached again from the log at the very position where it was; the exit status is 1
    where one comes out otherwise. With --policy, a TOML file with a [gate] table (or only some of its keys, or a whole
    tiltyard.toml), the log is played under those rules too.
    """
    from tiltyard import what_if

    if not what_if.run(**options):
        sys.exit(1)


@main.command()
@click.argument("version", type=click.IntRange(min=1))
@click.option("--reason", required=True, help="Stands in the ledger, with your name.")
@_model_option
@_state_option
def promote(version: int, reason: str, model: str | None, state: Path | None) -> None:
    """Make a version the champion, whatever the evidence says."""
    from tiltyard import roles

    click.echo(roles.promote(state, model, version, reason))


@main.command()
@click.argument("version", type=click.IntRange(min=1))
@click.option("--reason", default="", help="Stands in the ledger, with your name.")
@click.option("--first", is_flag=True, help="Let it answer at once, where only the prior does.")
@click.option("--new-budget", is_flag=True, help="Beyond gate.slots, promise alpha once more instead of waiting.")
@_model_option
@_state_option
def propose(version: int, **options: Any) -> None:
    """Let a version that was registered in MLflow by hand, or by any other tool, challenge the champion.

    It needs one ONNX graph among its artifacts, with the signature that every version has. What a graph cannot say, its
    features and its classes in the order of the columns, is checked where the version's tags tiltyard.features and
    tiltyard.classes (JSON), or the graph's metadata of these names, say it.
    """
    from tiltyard import propose as proposing

    click.echo(proposing.propose(version=version, **options))


@main.command()
@click.argument("version", type=click.IntRange(min=1))
@click.option("--reason", default="", help="Stands in the ledger, with your name.")
@_model_option
@_state_option
def approve(version: int, reason: str, model: str | None, state: Path | None) -> None:
    """Let a version answer that has won and asks for it, where gate.approval is "person".

    Only while it still has won; `tiltyard status` shows what asks.
    """
    from tiltyard import approvals

    click.echo(approvals.approve(state, model, version, reason))


@main.command()
@click.argument("version", type=click.IntRange(min=1))
@click.option("--reason", required=True, help="Stands in the ledger, with your name.")
@_model_option
@_state_option
def refuse(version: int, reason: str, model: str | None, state: Path | None) -> None:
    """Keep a version that has won and asks for it from answering, as long as this champion does."""
    from tiltyard import approvals

    click.echo(approvals.refuse(state, model, version, reason))


@main.command()
@click.option("--reason", required=True, help="Stands in the ledger, with your name.")
@click.option("--to", type=click.IntRange(min=1), metavar="VERSION", help="[the champion before]")
@_model_option
@_state_option
def rollback(reason: str, to: int | None, model: str | None, state: Path | None) -> None:
    """Take the championship from the champion, and bar it from returning."""
    from tiltyard import roles

    click.echo(roles.roll_back(state, model, to, reason))


@main.command()
@click.argument("model", metavar="MODEL")
@click.argument("learner", required=False, metavar="[LEARNER]")
@click.option("--reason", required=True, help="Stands in the ledger, with your name.")
@_state_option
def freeze(model: str, learner: str | None, reason: str, state: Path | None) -> None:
    """Keep a learner, or all of a model's, from publishing.

    It goes on learning and storing what it has learned; the revision that is public goes on answering. At once, and
    until `tiltyard unfreeze`, which publishes all that was learned meanwhile.
    """
    from tiltyard import switches

    click.echo(switches.freeze(state, model, learner, reason))


@main.command()
@click.argument("model", metavar="MODEL")
@click.argument("learner", required=False, metavar="[LEARNER]")
@click.option("--reason", required=True, help="Stands in the ledger, with your name.")
@_state_option
def unfreeze(model: str, learner: str | None, reason: str, state: Path | None) -> None:
    """Let a frozen learner, or all of a model's, publish again."""
    from tiltyard import switches

    click.echo(switches.unfreeze(state, model, learner, reason))


@main.command()
@click.argument("model", metavar="MODEL")
@click.argument("learner", metavar="LEARNER")
@click.option("--reason", default="", help="Stands in the ledger, with your name.")
@_state_option
def accept(model: str, learner: str, reason: str, state: Path | None) -> None:
    """Publish the revision of a learner that the safeguards hold.

    A revision is held where its answers to fixed questions moved by more than safeguards.max_change since the one
    before; `tiltyard status` and the page say by how much. Once accepted, later ones are compared with it.
    """
    from tiltyard import switches

    click.echo(switches.accept(state, model, learner, reason))


@main.command()
@click.argument("model", metavar="MODEL")
@click.argument("learner", metavar="LEARNER")
@click.option("--reason", default="", help="Stands in the ledger, with your name.")
@_state_option
def pardon(model: str, learner: str, reason: str, state: Path | None) -> None:
    """Take a learner off the bench.

    A learner that failed at an event, or outgrew its memory_mb, is benched: it no longer learns, and its last revision
    goes on answering. Remove the cause first (the page and `tiltyard status` name it): it goes on from its last
    checkpoint, and if it fails at the same event again it is benched again.
    """
    from tiltyard import switches

    click.echo(switches.pardon(state, model, learner, reason))


@main.command()
@click.option("--entity", required=True, metavar="ID", help="The entity_id that was sent with the questions.")
@click.option("--model", metavar="NAME", help="Only in this model. [all]")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print the receipts as JSON.")
@_state_option
def erase(state: Path | None, entity: str, model: str | None, yes: bool, as_json: bool) -> None:
    """Erase everything about an entity, and what was learned from it.

    Its predictions and their labels go from the streams, the log and the journal; online learners go back to before
    they had learned them, and learn on without them. The receipt says what was done and what is beyond reach; the exit
    status is 1 where something waits for a process that is not running, and running it again completes it.
    """
    from tiltyard.erase import run

    sys.exit(run(state, entity, model, yes, as_json))


@main.command()
@_state_option
@_port_option
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="[tiltyard.toml]")
def doctor(state: Path | None, port_base: int, config: Path | None) -> None:
    """Say what keeps Tiltyard from running here, and what to do."""
    from tiltyard.doctor import run

    sys.exit(run(state, config, port_base))


@main.command("prefect-yaml")
@click.option("--work-pool", "pool", required=True, metavar="NAME", help="The pool whose workers run the flows.")
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="[tiltyard.toml]")
@_state_option
def prefect_yaml(pool: str, config: Path | None, state: Path | None) -> None:
    """Print a prefect.yaml that deploys the flows of every model to a work pool of your own.

    `tiltyard up` runs the flows itself and needs none of this, also with a Prefect server that was there before.
    """
    from contracts.config import load
    from tiltyard.prefect_yaml import text
    from tiltyard.up import settings_for

    click.echo(text(load(settings_for(state, config, 8700).config), pool), nl=False)


@main.command("check-learner")
@click.argument("model", metavar="MODEL")
@click.argument("learner", required=False, metavar="[LEARNER]")
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="[tiltyard.toml]")
@click.option("--rows", default=1000, show_default=True, type=click.IntRange(100, 100_000), metavar="N", help="To try.")
@click.option("--log", is_flag=True, help="Try the newest labelled predictions of the log, instead of generated rows.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@_state_option
def check_learner(config: Path | None, model: str, learner: str | None, state: Path | None, **options: Any) -> None:
    """Say whether a learner, above all one of your own, keeps what every learner must keep.

    Exports exactly, is restored exactly, depends on nothing but its labels and its seed, survives missing and new
    values, and so on, each with figures or the reason. The exit status is 1 where something is refused.
    """
    from tiltyard.check_learner import check

    sys.exit(check(state, config, model, learner, **options))


@main.command()
def schema() -> None:
    """Print the JSON Schema of tiltyard.toml, for editors."""
    import json

    from contracts.config import json_schema

    click.echo(json.dumps(json_schema(), indent=2))

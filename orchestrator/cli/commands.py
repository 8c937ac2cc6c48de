"""Every command: what it takes, the one call it makes, and what it prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator import __version__
from orchestrator.cli import options
from orchestrator.cli.options import workplace

app = typer.Typer(
    name="orchestrate",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)
db = typer.Typer(help="Look after the database.", rich_markup_mode=None, no_args_is_help=True)
app.add_typer(db, name="db")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def common(
    context: typer.Context,
    home: options.Home = Path(),
    database: options.Database = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Judge records by a debate of three actors: an advocate, a critic and a judge."""
    context.obj = {"home": home, "database": database}


@app.command()
def init(context: typer.Context, force: options.Force = False, json: options.Json = False) -> None:
    """Write actors/, prompts/, samples and orchestrate.toml into this folder; files that exist are left alone."""
    from orchestrator.app import setup
    from orchestrator.cli import printing

    printing.written(setup.init(context.obj["home"], force=force), context.obj["home"], json)


@app.command()
def submit(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Records: JSONL, CSV or Parquet.")],
    debate: Annotated[str, typer.Option("--debate", "-d", help="Which debate they are for.")],
    key: Annotated[
        str | None, typer.Option("--key", help="The field that is unique in the file.", show_default="the debate's key")
    ] = None,
    source: Annotated[
        str | None, typer.Option("--source", help="Where keys are unique.", show_default="the debate's name")
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Store the good records; write the bad ones to a file.")
    ] = False,
    update: Annotated[bool, typer.Option("--update", help="Take changed records under known keys.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Debate records judged under an older version again.")] = False,
    priority: Annotated[
        int, typer.Option("--priority", min=-1000, max=1000, help="Higher ones are debated first.")
    ] = 0,
    json: options.Json = False,
) -> None:
    """Check a file of records, and store those that are new."""
    from orchestrator.app.submitting import SubmitRequest
    from orchestrator.app.submitting import submit as store
    from orchestrator.cli import printing

    request = SubmitRequest(
        file=file,
        debate=debate,
        key=key,
        source=source,
        skip_bad=skip_bad,
        update=update,
        again=again,
        priority=priority,
    )
    with printing.reading_bar(file, quiet=json) as progress:
        outcome = store(workplace(context), request, progress)
    raise typer.Exit(printing.submitted(outcome, request, json))


@app.command()
def plan(
    context: typer.Context,
    debate: options.Debate = None,
    max_workers: options.Workers = None,
    before: options.Before = None,
    probe: Annotated[
        bool, typer.Option("--probe", help="Debate five records first, and store only what they took.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Say what a run would do, how long it would take, and what that rests on. Without --probe no model is called."""
    from orchestrator.cli import plans

    plans.show(workplace(context, max_workers=max_workers), debate, before, probe=probe, json=json)


@app.command("process-pending")
def process_pending(
    context: typer.Context,
    max_workers: options.Workers = None,
    max_tasks: Annotated[
        int | None, typer.Option("--max-tasks", min=1, help="Work on so many tasks.", show_default=False)
    ] = None,
    max_failures: options.MaxFailures = None,
    debate: options.Debate = None,
    endpoint: Annotated[
        str | None, typer.Option("--endpoint", "-e", help="Only this endpoint.", show_default=False)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show debates turn by turn; store nothing.")] = False,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="With --dry-run: so many records.", show_default="3")
    ] = None,
    json: options.Json = False,
) -> None:
    """Debate what is pending. Always resumes: after a crash, give the same command again."""
    from orchestrator.app import running
    from orchestrator.cli import runs

    if limit is not None and not dry_run:
        raise typer.BadParameter("--limit goes with --dry-run; a run takes --max-tasks")
    if max_tasks is not None and dry_run:
        raise typer.BadParameter("--max-tasks is for a run; a dry run takes --limit")
    request = running.RunRequest(debate=debate, endpoint=endpoint, max_tasks=max_tasks)
    place = workplace(context, max_workers=max_workers, max_failures=max_failures)
    raise typer.Exit(runs.dry(place, request, limit or 3, json) if dry_run else runs.process(place, request, json))


@app.command()
def status(
    context: typer.Context,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again every two seconds, until Ctrl-C.")] = False,
    json: options.Json = False,
) -> None:
    """One screen: tasks by state, verdicts by label, what runs now, what failed."""
    from orchestrator.app.looking import status as look
    from orchestrator.cli import printing, tables

    place = workplace(context)
    printing.repeated(lambda: tables.status(look(place), json), watch=watch)


@app.command()
def show(
    context: typer.Context,
    key: Annotated[
        str | None, typer.Argument(help="A record's key; without one, a table of verdicts.", show_default=False)
    ] = None,
    debate: options.Debate = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Without a key: so many lines.")] = 50,
    json: options.Json = False,
) -> None:
    """One record's debate, turn by turn, with its quotes checked; or a table of verdicts."""
    from orchestrator.app import looking
    from orchestrator.cli import debates, tables

    if key is None:
        tables.verdicts(looking.verdicts(workplace(context), debate, limit), json)
    else:
        debates.shown(looking.show(workplace(context), key, debate), json)


@app.command()
def export(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Ending in .jsonl, .csv or .parquet; - is JSONL on standard output.")],
    debate: options.Debate = None,
    records: Annotated[bool, typer.Option("--records", help="Put the records' fields beside the verdicts.")] = False,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Write one row for each task: its verdict, or null and the class of what went wrong."""
    from orchestrator.app.looking import export as write
    from orchestrator.cli import printing

    rows = write(workplace(context), file, debate, records=records, force=force)
    printing.exported(rows, file, json)


@app.command()
def errors(
    context: typer.Context,
    debate: options.Debate = None,
    only: options.OnlyClass = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="The newest so many.")] = 20,
    json: options.Json = False,
) -> None:
    """Failed attempts: how many of each class and text, what to do about them, and the newest."""
    from orchestrator.app.failing import errors as look
    from orchestrator.cli import failing

    failing.errors(look(workplace(context), debate, only, limit), json)


@app.command()
def retry(
    context: typer.Context,
    debate: options.Debate = None,
    key: options.Keys = None,
    only: options.OnlyClass = None,
    json: options.Json = False,
) -> None:
    """Put failed tasks back to pending; cancelled ones only by --key, or by --class cancelled."""
    from orchestrator.app.moving import retry as move
    from orchestrator.cli import printing

    printing.moved("put back to pending", move(workplace(context), debate, key, only), json)


@app.command()
def cancel(
    context: typer.Context,
    debate: options.Debate = None,
    key: options.Keys = None,
    everything: Annotated[bool, typer.Option("--all", help="All that is not done yet.")] = False,
    json: options.Json = False,
) -> None:
    """Take tasks that are not done out of the queue; `retry` puts them back."""
    from orchestrator.app.moving import cancel as move
    from orchestrator.cli import printing

    if not (debate or key or everything):
        raise typer.BadParameter("say which: --key, --debate or --all")
    printing.moved("cancelled", move(workplace(context), debate, key), json)


@app.command()
def doctor(
    context: typer.Context,
    models: Annotated[
        bool, typer.Option("--models", help="Call each model too: does it do what a run counts on? Stores nothing.")
    ] = False,
    within: Annotated[
        float | None,
        typer.Option("--within", min=1, help="With --models: seconds it may take.", show_default="600"),
    ] = None,
    debate: options.Debate = None,
    json: options.Json = False,
) -> None:
    """Look at settings, database, debates, servers, models and GPU: what works, and what to do about what does not."""
    from orchestrator.app.doctor import examine
    from orchestrator.cli import exams, printing

    if within is not None and not models:
        raise typer.BadParameter("--within goes with --models; without it no model is called")
    exam = exams.request(within) if models else None
    raise typer.Exit(printing.findings(examine(context.obj["home"], context.obj["database"], debate, exam), json))


@db.command()
def upgrade(context: typer.Context, json: options.Json = False) -> None:
    """Make the database, or bring it to this program's version; a copy is kept."""
    from orchestrator.app.moving import upgrade as move
    from orchestrator.cli import printing

    printing.upgraded(*move(workplace(context)), json)


@db.command()
def check(context: typer.Context, json: options.Json = False) -> None:
    """Say which version the database has, and whether it is whole."""
    from orchestrator.app.moving import check as look
    from orchestrator.cli import printing

    raise typer.Exit(printing.checked(look(workplace(context)), json))


@db.command()
def verify(context: typer.Context, json: options.Json = False) -> None:
    """Look every task over for what was lost, doubled, late or altered; changes nothing, and may run beside a run."""
    from orchestrator.app.verifying import verify as look
    from orchestrator.cli import verified

    raise typer.Exit(verified.shown(look(workplace(context)), json))

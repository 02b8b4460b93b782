"""The command line, as a person types it."""

from click.testing import CliRunner, Result

from tiltyard.cli import main


def tiltyard(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def done(*arguments: str) -> str:
    result = tiltyard(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*arguments: str) -> str:
    """One line on standard error, status 2, no traceback."""
    result = tiltyard(*arguments)
    assert result.exit_code == 2, result.output
    # MLflow tells of the store that it makes, within whichever command is the first of a test process to need it.
    told = [line for line in result.stderr.splitlines() if "INFO mlflow." not in line]
    assert len(told) == 1, result.stderr
    return told[0]

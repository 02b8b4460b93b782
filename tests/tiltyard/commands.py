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
    assert result.stderr.count("\n") == 1, result.stderr
    return result.stderr

"""[models.NAME.mail]: what is refused when the file is read, and that old files mean what they meant."""

import pytest

from contracts.config import parse
from contracts.mail_rules import Mail
from contracts.quantities import ConfigError

MODEL = """
[models.m]
label = {{task = "binary", classes = [false, true]}}
features = {{x = "float"}}
learners = {{one = {{algorithm = "linear"}}}}
[models.m.mail]
{}
"""


def mail(lines: str) -> Mail:
    return parse(MODEL.format(lines)).model("m").mail


def test_the_keys_of_old_are_read_as_ever() -> None:
    """Nothing else is needed."""
    found = mail('recipients = ["a@example.org"]\nwhen = "always"\ndecisions = false')
    assert found == Mail(recipients=("a@example.org",), when="always", decisions=False)


def test_every_key_is_read() -> None:
    """As the documentation has it."""
    found = mail(
        'to = {info = ["i@x"], warning = ["w@x"], alarm = ["a@x"], decisions = ["d@x"]}\nremind_every = "12h"\n'
        'quiet_hours = "22:00-07:00"\nquiet_alarms = "wait"\ntime_zone = "Europe/Berlin"\ndigest = "daily"\n'
        'digest_at = "07:30"\nattach_mb = 5\nwebhook = "env:SHOP_HOOK"'
    )
    assert (found.to.alarm, found.remind_s, str(found.zone)) == (("a@x",), 43_200, "Europe/Berlin")
    assert mail('remind_every = "off"').remind_s is None


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ('recipients = ["nobody"]', "models.m.mail.recipients: 'nobody' is no address"),
        ('to = {alarm = ["a@x", "a b@x"]}', "models.m.mail.to.alarm: 'a b@x' is no address"),
        ('to = {alarms = ["a@x"]}', 'unknown key "models.m.mail.to.alarms"; did you mean "alarm"?'),
        ('recipient = ["a@x"]', 'did you mean "recipients"?'),
        ('quiet_hours = "22-7"', "models.m.mail.quiet_hours"),
        ('quiet_hours = "07:00-07:00"', "models.m.mail.quiet_hours: begin and end at the same time"),
        ('time_zone = "Berlin"', 'models.m.mail.time_zone: there is no time zone "Berlin"'),
        ('time_zone = "../etc/passwd"', "models.m.mail.time_zone"),
        ('digest_at = "24:00"', "models.m.mail.digest_at"),
        ('digest = "weekly"', "models.m.mail.digest"),
        ('remind_every = "0h"', "models.m.mail.remind_every: is no time at all"),
        ("attach_mb = -1", "models.m.mail.attach_mb"),
        ('webhook = "file:///etc/passwd"', "models.m.mail.webhook: is no address of the web"),
        ('webhook = "https://"', "models.m.mail.webhook"),
        ('webhook = "https://h:port/"', "models.m.mail.webhook"),
    ],
)
def test_what_could_reach_nobody_is_refused_by_its_key(lines: str, told: str) -> None:
    """When the file is read, not at the first alarm."""
    with pytest.raises(ConfigError) as refused:
        mail(lines)
    assert told in str(refused.value)

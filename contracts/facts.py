"""What each process makes known of itself, for the page, the command line and the next process.

Facts are JSON in one Redis hash per model, by name: ``learn``, ``shadow``, ``watch``, ``guard``,
``serving:<address>``.
"""

import msgspec


class LearnerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One online learner, as of its last checkpoint."""

    at: float = 0.0
    learned: int
    last_feedback_id: str
    """It has learned everything up to here that it learns at all, corrections included."""
    state_hash: str
    """Empty while it is costly to compute; see `hashed_at`."""
    hashed_at: int = -1
    """Labels learned when `state_hash` was taken."""
    position: int = 0
    """Examples of the journal that it has gone through."""
    amendments: int = 0
    """Corrections of the journal that are part of its state."""
    purged: int = 0
    """Of these, the first so many are also part of every state that is stored: none holds what they erased."""
    version: int | None = None
    """None until it is registered."""
    revision: int = 0
    """Newest published one."""
    benched: str | None = None
    """Why it no longer learns, when it does not."""
    held: str | None = None
    """Why its newest revision was not published, when it was not; the last good one goes on serving."""
    held_since: float | None = None
    """Epoch seconds; None while nothing is held."""
    is_faulty: bool = False
    """What is held does not answer as the learner does: nobody can let it through."""
    frozen: bool = False
    """Nothing is published, because a person said so."""
    rebuilding: str | None = None
    """What is being learned anew beside live learning, and how far that is."""
    checkpoint_bytes: int = 0
    checkpoint_s: float = 0.0
    publish_s: float = 0.0
    memory_mb: float = 0.0
    """Resident memory of its process."""
    snapshots: int = 0
    snapshot_bytes: int = 0


class VersionFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Prequential loss of one version on labelled predictions, as logged at the question."""

    version: int
    learner: str
    n: int
    loss: float
    """Mean, in units of the model's loss."""
    accuracy: float | None
    """None for a value."""
    curve: tuple[tuple[float, int, float], ...] = ()
    """(epoch seconds of the last prediction, labelled predictions, mean loss) of consecutive stretches."""


class ComparisonFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One challenger against the champion of this tenure."""

    champion: int
    challenger: int
    learner: str
    started_at: float
    n: int
    wins: int
    losses: int
    gain: float
    lower: float = 0.0
    upper: float = 0.0
    log_e: float = 0.0
    needed: float
    """log E at which the gate opens."""
    uncovered: int
    decision: str = "collecting"
    reason: str = ""
    evidence: str
    """As `registry.evidence.Evidence.to_json` writes it."""
    curve: tuple[tuple[int, float, float, float, float], ...] = ()
    """(n, log10 E, mean gain, lower, upper), the older the further apart."""
    curve_at: tuple[float, ...] = ()
    """Epoch seconds at which the newest question behind each of these points was asked; 0 where that was not kept."""
    asked: dict[int, tuple[int, int]] = {}
    """(labelled, all) of the pairs that may differ, by the class that the champion answered; -1 for values."""
    answers: tuple[tuple[int, int, int], ...] = ()
    """(champion's class, challenger's class, how often)."""
    guardrails: dict[str, str] = {}
    """Evidence under other losses, by name."""
    segments: dict[str, str] = {}
    """Evidence within segments, by "feature=value"."""
    bounds: dict[str, tuple[float, float]] = {}
    """What the average advantage can be under each guardrail, and within those segments that were asked about most."""
    audit: str | None = None
    """Evidence of labels that came after maturity."""
    clipped: int = 0
    """Pairs in which an error was larger than what counts."""
    young: tuple[int, float] = (0, 0.0)
    """Pairs that the challenger won within the correction lag, and the sum of their differences."""
    corrected: float = 0.0
    """Share of labels that were corrected."""


class WatchFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The watch on the champion, by labels."""

    version: int | None = None
    since: int = -1
    """Offset from which it reigns."""
    previous: int | None
    """The former champion, while it is under probation."""
    n: int
    """Pairs compared with it."""
    log_r: float
    needed: float
    """Natural log of the evidence that the former champion is better, and of what rolls back."""
    alarmed_at: int | None
    """After how many pairs it was reached."""
    limit: float | None
    """Share of the loss range that the champion should stay below, by its own past."""
    worse_than_itself_at: int | None
    """After how many labelled questions it was shown to be above."""


class LearnFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The learn loop, as of its last checkpoint."""

    at: float
    last_feedback_id: str
    feedback: int
    joined: int
    orphans: int
    duplicates: int
    corrections: int
    late: int
    """Labels that came after maturity: learned, never evidence."""
    uncovered: int
    timed_out: int = 0
    """Predictions without a label that were learned as negative."""
    pending: int
    matured: int
    champion: WatchFacts | None = None
    matured_through: int = -1
    """Offset below which predictions have matured: what the comparisons are about."""
    dead_letters: int
    loss: str
    examples: int = 0
    """In the journal, for learners to learn."""
    amendments: int = 0
    journal_bytes: int = 0
    delay_s: tuple[float, float, float] | None
    """Label delay: median, 90th and 99th percentile."""
    delays: tuple[tuple[float, float, int], ...] = ()
    """How the delays are spread: (from s, to s, labels), in steps of equal ratio."""
    learners: dict[str, LearnerFacts]
    versions: tuple[VersionFacts, ...]
    comparisons: tuple[ComparisonFacts, ...]
    logged_predictions: int = 0
    logged_labels: int = 0


class ScoringFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What one version's scores cost in one process, since that process started."""

    rows: int
    turns: int
    """Times it scored rows together."""
    total_s: float


class ShadowFacts(msgspec.Struct, frozen=True, kw_only=True):
    at: float
    position: str
    scored: int
    versions: dict[int, int]
    """Revision in use of each challenger."""
    refused: dict[int, str] = {}
    """Why a version's newest revision is not used, or its scores are missing, and what is done meanwhile."""
    scoring: dict[int, ScoringFacts] = {}
    """By version, of those that shadow now."""


class AnsweringFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What one version did with what one serving process asked it, since that process started."""

    answered: int = 0
    raised: int = 0
    """Questions on which it raised; they got no answer."""
    not_finite: int = 0
    """Questions for which it gave NaN or infinity; they got no answer."""
    failed: int = 0
    """Both kinds, where the same question counts once a second: a client that repeats it is one sign, not many."""
    turns: int = 0
    """Times it scored what was asked together."""
    slow: int = 0
    """Turns beyond `gate.max_latency`."""
    by_class: tuple[int, ...] = ()
    """Answers by class, in class order; of a value, their number alone."""
    median_s: float = 0.0
    """Of scoring what was asked together, as a bound that half of the turns kept."""
    p99_s: float = 0.0
    scoring_s: float = 0.0
    """Of all turns."""


class ServingFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One serving process; stale when `at` is older than a few seconds."""

    at: float
    address: str
    pid: int
    version: int | None
    revision: int
    provider: str
    refused: str | None = None
    """Why the newest release was refused, when it was."""
    answered: int = 0
    unlogged: int = 0
    """Answers whose log entry failed (prediction_id null)."""
    entity_key: str = ""
    """Fingerprint of the key under which entities are stored (`contracts.entities.fingerprint`)."""
    versions: dict[int, AnsweringFacts] = {}
    """Of the newest versions that answered here."""


class GuardFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The label-free guard of the champion (`flows.guard`), as of its last look."""

    at: float
    version: int | None
    """Whom it looks after: nobody while the prior answers, since there is nobody to go back to."""
    compared_with: int | None = None
    """Whose answers to the same questions its shares of classes are compared with; None where nobody shadows."""
    alert: str | None = None
    """Why it should not answer, while it goes on to because nobody can follow it."""


class AnswersFacts(msgspec.Struct, frozen=True, kw_only=True):
    """How far a version's answers are from those of the reference: as logged, and out of fold."""

    distance: float
    threshold: float
    method: str
    reference_rows: int
    current_rows: int


class QualityFacts(msgspec.Struct, frozen=True, kw_only=True):
    """How good a version was on the matured labels of two windows, out of fold."""

    loss: str
    """Its name, as in `gate.loss`."""
    reference: float
    current: float
    """Mean losses."""
    margin: float
    """Half of the 95 % interval of their difference, were rows independent."""
    reference_rows: int
    current_rows: int
    measures: dict[str, tuple[float, float]] = {}
    """(reference, current) of accuracy, log_loss and brier, or of mae and rmse."""


class ColumnFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is in one column of the current window, beside the reference."""

    missing: tuple[float, float]
    """Share of rows: (reference, current)."""
    unseen: float | None = None
    """Share of categories that the reference has not; None for numbers, and where it has too many to tell."""
    outside: float | None = None
    """Share of numbers beyond all of the reference's; None without any."""


class DriftFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The latest drift report."""

    at: float
    report: str
    """File name in the report folder; empty where it could not be kept."""
    alarm: bool
    share: float
    columns: dict[str, float]
    """Distance by column."""
    drifted: tuple[str, ...]
    sentence: str
    reference_rows: int
    current_rows: int
    thresholds: dict[str, float] = {}
    """Distance from which a column has drifted, by column; above the configured one in small windows."""
    methods: dict[str, str] = {}
    """How the distance was measured, by column."""
    importance: dict[str, float] = {}
    """Share of the champion's permutation importance, by column; empty where it is not known."""
    answers: AnswersFacts | None = None
    quality: QualityFacts | None = None
    data: dict[str, ColumnFacts] = {}
    notes: tuple[str, ...] = ()
    """What is wrong with the data, and what could not be measured; sentences."""
    waiting: str = ""
    """Why there is no newer report, where one was due; `report` is empty before the first."""

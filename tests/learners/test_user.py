"""Learners of one's own, from a module beside tiltyard.toml."""

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from contracts.config import Learner, load
from contracts.quantities import ConfigError
from contracts.schema import Feature, Label, Schema
from learners import batch, elsewhere, trial
from learners.case import Case
from learners.catalogue import build_batch, build_online, check
from learners.contract import CHECKS, look, run
from learners.export import NotExportable
from learners.promise import Broken
from learners.synthetic import Examples, examples, strangers

MODULE = '''
from river import base, compose, linear_model, naive_bayes, optim, preprocessing, tree

def build(schema, params, seed):
    numbers = compose.SelectType(float) | preprocessing.StandardScaler()
    return numbers | linear_model.LogisticRegression(optim.SGD(params.get("rate", 0.01)))

def alma(schema, params, seed):
    return linear_model.ALMAClassifier()

def plain(schema, params, seed):
    return tree.HoeffdingTreeClassifier()

def divides(schema, params, seed):
    return 1 / params["zero"]

def number(schema, params, seed):
    return 7

def estimator_class(schema, params, seed):
    return linear_model.LogisticRegression

SHARED = linear_model.LogisticRegression()

def shared(schema, params, seed):
    return SHARED

class Rude(linear_model.LogisticRegression):
    """Takes away what it has read."""
    def learn_one(self, x, y):
        super().learn_one(dict(x), y)
        x.clear()

def rude(schema, params, seed):
    return Rude()

class Learns(linear_model.LogisticRegression):
    """Learns from questions."""
    def predict_proba_one(self, x):
        self.asked = getattr(self, "asked", 0) + 1
        return super().predict_proba_one(x)

def learns_from_questions(schema, params, seed):
    return Learns()

class Unlikely(base.Classifier):
    def learn_one(self, x, y):
        pass
    def predict_proba_one(self, x):
        return {False: 0.7, True: 0.7}

def unlikely(schema, params, seed):
    return Unlikely()

class Unstored(linear_model.LogisticRegression):
    def __init__(self):
        super().__init__()
        self.f = lambda: 1

def unstored(schema, params, seed):
    return Unstored()

class ByText(base.Classifier):
    """Its order of names is that of a set."""
    def __init__(self):
        self.names = []
    def learn_one(self, x, y):
        self.names = list({str(key) for key in x} | {"p", "q", "r", "s"})
    def predict_proba_one(self, x):
        return {True: 0.5, False: 0.5}

def by_text(schema, params, seed):
    return ByText()

class Random(base.Classifier):
    """Draws without the seed."""
    def __init__(self):
        import random
        self.drawn = random.random()
    def learn_one(self, x, y):
        self.n = getattr(self, "n", 0) + 1
    def predict_proba_one(self, x):
        return {True: 0.5, False: 0.5}

def random(schema, params, seed):
    return Random()

class Forgets(linear_model.LogisticRegression):
    """Leaves its weights out of its pickle."""
    def __getstate__(self):
        from river.utils import VectorDict
        return {**self.__dict__, "_weights": VectorDict(None), "seen": getattr(self, "seen", 0) + 1}

def forgets(schema, params, seed):
    return Forgets()

class Chokes(linear_model.LogisticRegression):
    """Cannot do without any feature."""
    def learn_one(self, x, y):
        x["y"]
        super().learn_one({"x": x["x"]}, y)

def chokes(schema, params, seed):
    return Chokes()

def ridge(schema, params, seed):
    from sklearn.linear_model import Ridge
    return Ridge()

def columns(schema, numbers, categories):
    from sklearn.compose import ColumnTransformer
    return ColumnTransformer(
        [("numeric", numbers, list(schema.numeric_names)), ("categorical", categories, list(schema.categorical_names))]
    )

def lasso(schema, params, seed):
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import Lasso
    from sklearn.pipeline import Pipeline, make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler
    numbers = make_pipeline(StandardScaler(), SimpleImputer(strategy="constant", fill_value=params.get("fill", 0.0)))
    both = columns(schema, numbers, OneHotEncoder(handle_unknown="ignore"))
    return Pipeline([("columns", both), ("model", Lasso(alpha=0.1, random_state=seed))])

def boosted(schema, params, seed):
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OrdinalEncoder
    nan = float("nan")
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=nan, encoded_missing_value=nan)
    model = HistGradientBoostingRegressor(max_iter=5, loss=params.get("loss", "squared_error"), early_stopping=False)
    return Pipeline([("columns", columns(schema, "passthrough", codes)), ("model", model)])

def forest(schema, params, seed):
    from sklearn.ensemble import RandomForestClassifier
    return RandomForestClassifier(n_estimators=3, random_state=params.get("state", seed))
'''
SCHEMA = Schema((Feature("x", "float"), Feature("y", "float", optional=True)), Label("binary", (False, True)))


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on Python's path with the module in it."""
    (tmp_path / "mine.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    return tmp_path


def own(name: str, **options: Any) -> Learner:
    return Learner(learner=f"mine:{name}", **options)


def configured(folder: Path, lines: str) -> Any:
    """The model in a tiltyard.toml with one learner, mine."""
    text = f"""
        [models.m]
        features = {{x = "float", y = "float?"}}
        label = {{task = "binary", classes = [false, true]}}
        [models.m.learners.mine]
        {lines}
    """
    (folder / "tiltyard.toml").write_text(text)
    return load(folder / "tiltyard.toml").models["m"]


def test_a_river_pipeline_of_ones_own_learns_and_serves(module: Path) -> None:
    """Configured with its params, checked when the file is read, and it keeps all of the contract."""
    model = configured(module, 'learner = "mine:build"\nparams = {rate = 0.5}')
    check(model)
    online = build_online(model.learners["mine"], model.schema)
    assert online.name == "mine:build"
    assert online.model["LogisticRegression"].optimizer.learning_rate == 0.5
    case = Case(model.learners["mine"], examples(model.schema, 300))
    assert [finding for finding in run(case) if not finding.ok] == []


def test_its_checkpoint_is_read_by_a_process_that_only_read_the_configuration(module: Path) -> None:
    """Its classes are found beside tiltyard.toml, without that it was built there."""
    model = configured(module, 'learner = "mine:rude"')
    (module / "state").write_bytes(pickle.dumps(build_online(model.learners["mine"], model.schema)))
    code = (
        "import pickle, sys; from pathlib import Path; from contracts.config import load\n"
        f"folder = Path({str(module)!r}); load(folder / 'tiltyard.toml')\n"
        "print(type(pickle.loads((folder / 'state').read_bytes()).model).__name__)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told == "Rude\n"


BROKEN_MODULES = {
    "broken.py": "x = 1\ny = x / 0\n",
    "half.py": "def build(\n",
    "needy.py": "import not_installed_anywhere\n",
}
REFUSED = [
    ('learner = "nowhere:build"', 'there is no module "nowhere" beside tiltyard.toml'),
    ('learner = "mine.sub:build"', 'there is no module "mine.sub"'),
    ('learner = "mine:biuld"', '"mine" has no "biuld"; did you mean "build"?'),
    (
        'learner = "mine:SHARED"',
        '"mine:SHARED" is of type LogisticRegression; name a function build(schema, params, seed)',
    ),
    ('learner = "mine:Rude"', '"mine:Rude" is a class'),
    ('learner = "mine:divides"\nparams = {zero = 0}', "ZeroDivisionError: division by zero, at mine.py:"),
    ('learner = "mine:divides"', "KeyError: 'zero', at mine.py:"),
    ('learner = "mine:number"', "gave a int, which has no learn_one and no predict_proba_one"),
    ('learner = "mine:estimator_class"', "gave the class LogisticRegression, which"),
    ('learner = "mine:forest"', 'needs both learn_one and predict_proba_one; kind = "batch" takes it'),
    ('learner = "mine:build"\nkind = "batch"', 'needs both fit and predict_proba; kind = "online" takes it'),
    ('learner = "mine:ridge"\nkind = "batch"', "gave a Ridge, which has no predict_proba"),
    ('learner = "mine:alma"', "ALMAClassifier cannot be exported to ONNX: known estimators are"),
    ('learner = "mine:alma"\nmini_batch = 10', "cannot be exported"),
    ('learner = "mine:plain"\nmini_batch = 10', "mini_batch: AttributeError: 'HoeffdingTreeClassifier' object has no"),
    (
        'learner = "broken:build"',
        'importing "broken" raised ZeroDivisionError: division by zero, at broken.py:2: y = x / 0',
    ),
    ('learner = "half:build"', 'importing "half" raised SyntaxError: '),
    (
        'learner = "needy:build"',
        "importing \"needy\" raised ModuleNotFoundError: No module named 'not_installed_anywhere'",
    ),
]


@pytest.mark.parametrize(("lines", "message"), REFUSED)
def test_what_can_never_serve_is_refused_when_the_file_is_read(module: Path, lines: str, message: str) -> None:
    """With the key, and where it went wrong."""
    for name, text in BROKEN_MODULES.items():
        (module / name).write_text(text)
    with pytest.raises(ConfigError) as refused:
        check(configured(module, lines))
    assert str(refused.value).startswith("learners.mine.")
    assert message in str(refused.value)


CAUGHT = [
    ("rude", "inputs stay as they were", "learning changed its features from"),
    ("learns_from_questions", "asking changes nothing", "scoring changed its state"),
    ("unlikely", "scores are valid", "probabilities sum to 1.4 to 1.4, after 0 labels"),
    ("chokes", "missing and new values are survived", "KeyError: 'y'"),
    ("unstored", "a restored state goes on as if undisturbed", "it cannot be stored: "),
    ("forgets", "a restored state goes on as if undisturbed", "restored, "),
    ("shared", "equal labels give equal states", "built again, it does not start anew"),
    ("random", "equal labels give equal states", "or is random"),
    ("unlikely", "equal labels give equal states", "it does not learn"),
    ("by_text", "equal states in every process", "depends on the process (PYTHONHASHSEED)"),
    ("alma", "the ONNX graph is exact", "cannot be exported"),
    ("number", "it can be built", "gave a int"),
]


@pytest.mark.parametrize(("name", "checked", "reason"), CAUGHT)
def test_each_check_refuses_what_it_is_there_for(name: str, checked: str, reason: str) -> None:
    """With a reason that says what the learner did."""
    found = look(Case(own(name), examples(SCHEMA, 300)), checked)
    assert not found.ok
    assert reason in found.told


def test_every_check_has_a_learner_that_it_refuses() -> None:
    """No check is there for nothing."""
    assert {checked for _, checked, _ in CAUGHT} == set(CHECKS["online"]) - {"cost"}


def test_where_the_first_check_is_refused_there_is_nothing_more_to_say() -> None:
    """One reason, not ten times the same."""
    assert [finding.ok for finding in run(Case(own("number"), examples(SCHEMA, 200)))] == [False]


def test_a_batch_learner_that_cannot_be_fitted_is_refused_with_what_it_raised() -> None:
    """scikit-learn's own words, as a reason that retraining writes into the ledger."""
    schema = Schema((Feature("c", "category"), Feature("x", "float")), Label("binary", (False, True)))
    (found,) = run(Case(own("forest", kind="batch"), examples(schema, 200)))
    assert not found.ok
    assert "ValueError: could not convert string to float" in found.told
    data = examples(schema, 200)
    with pytest.raises(batch.CannotFit, match="ValueError: could not convert"):
        batch.fit(own("forest", kind="batch"), schema, data.rows, data.labels, 0, 0.2, print)


VALUES = Schema((Feature("x", "float", True), Feature("c", "category", True)), Label("regression"))


@pytest.mark.parametrize("name", ["lasso", "boosted"])
def test_a_batch_pipeline_of_ones_own_keeps_the_contract(name: str) -> None:
    """In the shape that the exporter knows, with an estimator that the catalogue lacks."""
    case = Case(own(name, kind="batch"), examples(VALUES, 300))
    for check_name in set(CHECKS["batch"]) - {"equal scores in every process"}:
        found = look(case, check_name)
        assert found.ok, found.told


NOT_EXPORTABLE = [
    ("forest", {}, "RandomForestClassifier cannot be exported to ONNX: known are ElasticNet, HistGradient"),
    ("lasso", {"fill": 1.0}, 'transformer "numeric" (Pipeline) cannot be exported to ONNX: before a Lasso it must be'),
]


@pytest.mark.parametrize(("name", "params", "reason"), NOT_EXPORTABLE)
def test_a_batch_pipeline_without_an_exact_graph_is_refused_when_the_file_is_read(
    name: str, params: dict[str, Any], reason: str
) -> None:
    """By the name of the part, with what would do."""
    schema = SCHEMA if name == "forest" else VALUES
    with pytest.raises(ConfigError) as refused:
        trial.refuse_unfit(own(name, kind="batch", params=params), schema)
    assert reason in str(refused.value)


def test_a_loss_whose_answers_are_exponentials_is_refused() -> None:
    """By name, where it can be fitted at all."""
    data = examples(VALUES, 200)
    positive = [abs(float(label)) for label in data.labels]
    poisson = own("boosted", kind="batch", params={"loss": "poisson"})
    fitted = batch.fit(poisson, VALUES, data.rows, positive, 0, 0.2, lambda _: None)
    with pytest.raises(NotExportable, match="its loss is poisson"):
        batch.export(fitted)


def test_a_batch_learner_of_ones_own_is_given_the_seed() -> None:
    """The one that retraining asks for, else the configured one."""
    learner = own("forest", kind="batch", seed=5)
    assert (build_batch(learner, SCHEMA).random_state, build_batch(learner, SCHEMA, 9).random_state) == (5, 9)


def test_a_process_that_fails_is_told_of() -> None:
    """Equal failures are no equal states."""
    data = Examples(SCHEMA, [(1.0, None)], ["false"])
    with pytest.raises(Broken, match=r"another process failed on it: .*KeyError: 'y'"):
        elsewhere.digests(own("chokes"), data)


TASKS = [Label("binary", (False, True)), Label("multiclass", ("a", "b", "c")), Label("regression")]


@pytest.mark.parametrize("label", TASKS, ids=lambda label: label.task)
def test_generated_rows_fit_the_schema_and_hold_every_class(label: Label) -> None:
    """As serving would take them; missing only where that is allowed; the same for the same seed."""
    features = tuple(
        Feature(kind, kind, optional)
        for kind, optional in (("float", False), ("int", True), ("bool", False), ("category", True))  # type: ignore[arg-type]  # they are types
    )
    schema = Schema(features, label)
    data = examples(schema, 400, seed=3)
    assert data == examples(schema, 400, seed=3)
    for row in [*data.rows, *strangers(schema)]:
        assert schema.decode(schema.as_dict(row)) == row
    assert {row[1] is None for row in data.rows} == {True, False}
    assert {label.decode(one) for one in data.labels} == set(data.labels)
    if not label.is_regression:
        assert set(data.labels) == set(label.class_texts)
    assert {row[3] for row in data.rows[:200]} < {row[3] for row in data.rows}

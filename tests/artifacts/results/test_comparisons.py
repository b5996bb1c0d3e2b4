"""Methods compared, against their definitions written naively."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from artifacts.errors import UsageError
from artifacts.results.build import build
from artifacts.results.comparisons import compare, holm, paired_tests
from flows.home import output_kinds
from tests.toy_grid import ToyGrid, rights

N_DATASETS, N_SEEDS, N_ROWS = 6, 3, 90
METHODS = {"xent": 0.7, "logconf": 1.0, "product": 0.75}


def made(root: Path) -> tuple[ToyGrid, np.ndarray]:
    """A grid of three methods, and whether weak, ceiling and students are right, [models, datasets, seeds, rows]."""
    rng = np.random.default_rng(0)
    skills = np.array([0.2, 1.5, *METHODS.values()])
    rows = rng.normal(size=(N_DATASETS, 1, N_ROWS)) + 0.5 * rng.normal(size=(5, N_DATASETS, 1, N_ROWS))
    luck = 0.1 * rng.normal(size=(5, N_DATASETS, N_SEEDS, 1))
    noise = 0.5 * rng.normal(size=(5, N_DATASETS, N_SEEDS, N_ROWS))
    right = skills[:, None, None, None] + luck + rows + noise > 0
    grid = ToyGrid(root)
    for place in range(N_DATASETS):
        for seed in range(N_SEEDS):
            weak, ceiling, *students = right[:, place, seed].tolist()
            first, *others = METHODS
            grid.pair(weak, students[0], ceiling, dataset=f"d{place}", method=first, seed=seed)
            for method, student in zip(others, students[1:], strict=True):
                labels = {"dataset": f"d{place}", "method": method, "seed": seed}
                score = grid.score(student, kind="w2s", model="large", supervisor="small", **labels)
                grid.pairs.append({**grid.pairs[-1], **labels, "transfer_score": score})
    grid.run()
    build(grid.store, grid.results, output_kinds)
    return grid, right


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> tuple[ToyGrid, np.ndarray]:
    return made(tmp_path_factory.mktemp("results"))


def crossed(part: np.ndarray, whole: np.ndarray) -> tuple[float, float, float]:
    """The ratio of means of two arrays [seeds, items] with its interval, by the definitions."""
    n_seeds, n = part.shape
    both = np.stack([part, whole]).astype(float)
    items, seeds, mean = both.mean(axis=1), both.mean(axis=2), both.mean(axis=(1, 2))
    rest = both - items[:, None, :] - seeds[:, :, None] + mean[:, None, None]
    inter = np.einsum("asi,bsi->ab", rest, rest) / ((n - 1) * (n_seeds - 1))
    parts = [np.cov(items) / n, np.cov(seeds) / n_seeds, -inter / (n * n_seeds)]
    ratio = mean[0] / mean[1]
    off = np.array([1, -ratio])
    shares = [float(off @ each @ off) for each in parts]
    covariance, variance = sum(parts), sum(shares)
    if variance < -shares[2]:
        covariance, variance = -parts[2], -shares[2]
    z2 = stats.norm.ppf(0.975) ** 2
    t2 = z2 + sum(
        min(max(share / variance, 0), 1) ** 2 * (stats.t.ppf(0.975, df) ** 2 - z2)
        for share, df in zip(shares, (n - 1, n_seeds - 1, (n - 1) * (n_seeds - 1)), strict=True)
    )
    held = np.linspace(-4, 4, 800_001)
    spread = covariance[0, 0] - 2 * held * covariance[0, 1] + held**2 * covariance[1, 1]
    inside = held[(mean[0] - held * mean[1]) ** 2 <= t2 * spread]
    return float(ratio), float(inside[0]), float(inside[-1])


def ends(row: dict[str, float]) -> tuple[float, float, float]:
    return row["difference"], row["difference_low"], row["difference_high"]


def test_pair_has_the_difference_of_the_crossed_design_in_accuracy_and_in_pgr(
    answered: tuple[ToyGrid, np.ndarray],
) -> None:
    grid, right = answered
    table = compare(grid.results, "toy", ["xent", "logconf"], "pair").to_pylist()
    assert len(table) == 2 * N_DATASETS
    effects = right.astype(float)
    for row in table:
        weak, ceiling, reference, method, _ = effects[:, int(row["dataset"][1:])]
        whole = ceiling - weak if row["measure"] == "PGR" else np.ones_like(weak)
        assert ends(row) == tuple(pytest.approx(value, abs=3e-3) for value in crossed(method - reference, whole))
        assert (row["n_items"], row["n_seeds"], row["interval_of"]) == (N_ROWS, N_SEEDS, "items and seeds")


def test_methods_with_ceilings_of_their_own_have_the_difference_of_two_ratios(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    weak, one, other, ceiling, other_ceiling = (
        np.array([rng.random(200) < skill for _ in range(3)]).astype(float) for skill in (0.5, 0.65, 0.75, 0.9, 0.85)
    )
    grid = ToyGrid(tmp_path)
    for seed in range(3):
        for method, student, top in (("xent", one, ceiling), ("probe", other, other_ceiling)):
            answers = [(of_model[seed] > 0).tolist() for of_model in (weak, student, top)]
            grid.pair(*answers, method=method, seed=seed)
    grid.run()
    build(grid.store, grid.results, output_kinds)

    (row,) = (row for row in compare(grid.results, "toy", by="pair").to_pylist() if row["measure"] == "PGR")

    def about(student: np.ndarray, top: np.ndarray) -> np.ndarray:
        gap = (top - weak).mean()
        ratio = (student - weak).mean() / gap
        return ratio + (student - weak - ratio * (top - weak)) / gap

    difference = about(other, other_ceiling) - about(one, ceiling)
    wanted = crossed(difference, np.ones_like(difference))
    assert ends(row) == tuple(pytest.approx(value, abs=3e-3) for value in wanted)


def test_methods_are_tested_over_datasets(answered: tuple[ToyGrid, np.ndarray]) -> None:
    grid, right = answered
    table = compare(grid.results, "toy").to_pylist()
    assert [(row["reference"], row["method"], row["measure"]) for row in table] == [
        ("xent", method, measure) for method in ("logconf", "product") for measure in ("PGR", "accuracy")
    ]
    found = {row["method"]: row for row in table if row["measure"] == "accuracy"}
    by_dataset = {
        method: (right[place] * 1.0 - right[2]).mean(axis=(1, 2)) for place, method in ((3, "logconf"), (4, "product"))
    }
    for method, values in by_dataset.items():
        row = found[method]
        interval = stats.t.interval(0.95, N_DATASETS - 1, values.mean(), stats.sem(values))
        assert ends(row) == tuple(pytest.approx(value, abs=1e-3) for value in (values.mean(), *interval))
        assert row["median_difference"] == pytest.approx(np.median(values))
        assert (row["n_better"], row["n_worse"]) == ((values > 0).sum(), (values < 0).sum())
        assert (row["n_datasets"], row["n_seeds"], row["interval_of"]) == (N_DATASETS, N_SEEDS, "datasets")
    p_values = [found[method]["wilcoxon_p"] for method in by_dataset]
    assert [found[method]["wilcoxon_holm"] for method in by_dataset] == holm(p_values)


def test_tests_are_exact_for_few_datasets() -> None:
    # All of five are better: of 32 signs, one, and its mirror image.
    assert paired_tests([0.01, 0.02, 0.03, 0.04, 0.05]) == (5, 0, pytest.approx(2 / 32), pytest.approx(2 / 32))


@pytest.mark.parametrize("differences", [[0.0, 0.0], []])
def test_methods_that_never_differ_have_p_1(differences: list[float]) -> None:
    assert paired_tests(differences) == (0, 0, 1, 1)


def test_datasets_without_a_difference_count_for_neither() -> None:
    found = paired_tests([0.0, 0.02, 0.01, -0.03, 0.02])
    assert (found.n_better, found.n_worse) == (3, 1)
    assert found.sign == pytest.approx(stats.binomtest(3, 4).pvalue)


def test_holm_multiplies_the_smallest_by_all_and_never_falls() -> None:
    assert holm([0.04, 0.01, 0.03, 0.9]) == [pytest.approx(p) for p in (0.09, 0.04, 0.09, 0.9)]


def test_dataset_has_the_mean_of_its_pairs(answered: tuple[ToyGrid, np.ndarray]) -> None:
    grid, _ = answered
    (row, *_) = compare(grid.results, None, ["xent", "logconf"], "dataset").to_pylist()
    (pair, *_) = compare(grid.results, None, ["xent", "logconf"], "pair").to_pylist()
    assert (row["grid"], row["n_pairs"], ends(row)) == ("toy", 1, ends(pair))


def test_one_method_is_the_reference_of_all_others(answered: tuple[ToyGrid, np.ndarray]) -> None:
    grid, _ = answered
    table = compare(grid.results, "toy", ["product"])
    assert set(table["reference"].to_pylist()) == {"product"}
    assert set(table["method"].to_pylist()) == {"xent", "logconf"}


@pytest.mark.parametrize(
    ("named", "methods", "message"),
    [
        ("toy", ["xent", "logcnf"], "no method 'logcnf' in grid 'toy'; did you mean 'logconf'?"),
        (None, ["xent", "brier"], "no method 'brier' in .*; there are: xent, logconf, product"),
        ("tyo", [], "no grid 'tyo' in .*; did you mean 'toy'?"),
    ],
)
def test_unknown_name_gets_the_nearest(
    answered: tuple[ToyGrid, np.ndarray], named: str | None, methods: list[str], message: str
) -> None:
    with pytest.raises(UsageError, match=message.replace("?", r"\?")):
        compare(answered[0].results, named, methods)


def test_grid_of_one_method_has_nothing_to_compare(tmp_path: Path) -> None:
    grid = ToyGrid(tmp_path)
    grid.pair(rights(60, 40), rights(70, 30), rights(85, 15))
    grid.run()
    build(grid.store, grid.results, output_kinds)
    with pytest.raises(UsageError, match="grid 'toy' has one method, 'xent'; there is nothing to compare it with"):
        compare(grid.results)


def test_unsound_pairs_differ_in_accuracy_alone(tmp_path: Path) -> None:
    grid = ToyGrid(tmp_path)
    for method, n_right in (("xent", 62), ("logconf", 64)):
        grid.pair(rights(60, 40), rights(n_right, 100 - n_right), rights(50, 10, 14, 26), method=method)
    grid.run()
    build(grid.store, grid.results, output_kinds)
    (row,) = compare(grid.results, "toy", by="pair").to_pylist()
    assert (row["measure"], row["difference"], row["interval_of"]) == ("accuracy", pytest.approx(0.02), "items only")

"""The losses over ranked lists against loops over requests and pairs."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from prerank.losses.lists import chunk_pairs_loss, sample_chunks, teacher_distance, top_loss

NAN, INF = math.nan, math.inf


def ranked_rows(requests: int, longest: int, seed: int):
    """Lists of random lengths, cut at random, with rows of unknown position and random negatives, shuffled."""
    torch.manual_seed(seed)
    request, position = [], []
    for number in range(requests):
        length = int(torch.randint(1, longest + 1, ()))
        positions = [float(place) for place in range(1, length + 1) if torch.rand(()) < 0.8]
        positions += [NAN, INF]
        position += positions
        request += [number * 3] * len(positions)
    order = torch.randperm(len(request))
    return torch.tensor(request)[order], torch.tensor(position)[order]


def lists(request, position):
    """Request → its ranked rows."""
    found: dict[int, list[int]] = {}
    for row, (number, place) in enumerate(zip(request.tolist(), position.tolist(), strict=True)):
        if math.isfinite(place):
            found.setdefault(number, []).append(row)
    return found


@pytest.mark.parametrize("chunk", [1, 3, 5, 100])
@pytest.mark.parametrize("seed", range(3))
def test_one_row_of_every_chunk(chunk, seed):
    request, position = ranked_rows(6, 17, seed)
    draw = torch.rand(len(request))
    expected = {}
    for number, rows in lists(request, position).items():
        for row in rows:
            key = (number, (int(position[row]) - 1) // chunk)
            if key not in expected or draw[row] < draw[expected[key]]:
                expected[key] = row
    rows, chunks = sample_chunks(request, position, chunk, draw)
    assert list(zip(request[rows].tolist(), chunks.tolist(), strict=True)) == sorted(expected)
    assert rows.tolist() == [expected[key] for key in sorted(expected)]


def test_a_batch_without_ranked_rows_gives_no_chunk():
    rows, chunks = sample_chunks(torch.tensor([1, 1]), torch.tensor([NAN, INF]), 5, torch.rand(2))
    assert len(rows) == len(chunks) == 0


def ndcg(gains: list[float], scores: list[float]) -> float:
    order = sorted(range(len(scores)), key=lambda row: (-scores[row], row))
    got = sum(gains[row] / math.log2(2 + rank) for rank, row in enumerate(order))
    best = sum(gain / math.log2(2 + rank) for rank, gain in enumerate(sorted(gains, reverse=True)))
    return got / best


def naive_pairs(score, request, chunk) -> float:
    """Every pair of every list; its weight is the change of NDCG when the two scores change places."""
    losses = []
    for number in sorted(set(request.tolist())):
        rows = [row for row in range(len(score)) if request[row] == number]
        if len({int(chunk[row]) for row in rows}) < 2:
            continue
        gains = [float(sum(chunk[other] > chunk[row] for other in rows)) for row in rows]
        scores = [float(score[row]) for row in rows]
        total = 0.0
        for first, second in itertools.permutations(range(len(rows)), 2):
            if chunk[rows[first]] < chunk[rows[second]]:
                swapped = list(gains)
                swapped[first], swapped[second] = swapped[second], swapped[first]
                weight = abs(ndcg(gains, scores) - ndcg(swapped, scores))
                total += weight * math.log1p(math.exp(scores[second] - scores[first]))
        losses.append(total)
    return sum(losses) / max(len(losses), 1)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_pairs_equal_a_loop_over_swaps(seed, ties):
    request, position = ranked_rows(5, 20, seed)
    rows, chunks = sample_chunks(request, position, 3, torch.rand(len(request)))
    score = torch.randn(len(rows)).round() if ties else torch.randn(len(rows))
    found = chunk_pairs_loss(score, request[rows], chunks)
    torch.testing.assert_close(found, torch.tensor(naive_pairs(score, request[rows], chunks)), rtol=1e-4, atol=1e-5)


def test_pairs_pull_the_better_chunk_up():
    score = torch.zeros(3, requires_grad=True)
    chunk_pairs_loss(score, torch.tensor([1, 1, 1]), torch.tensor([0, 1, 2])).backward()
    assert score.grad[0] < 0 < score.grad[2]


@pytest.mark.parametrize("rows", [0, 1])
def test_lists_of_no_pair_are_worth_nothing(rows):
    score = torch.ones(rows, requires_grad=True)
    loss = chunk_pairs_loss(score, torch.zeros(rows, dtype=torch.long), torch.zeros(rows, dtype=torch.long))
    loss.backward()
    assert float(loss) == 0
    assert not score.grad.any()


@pytest.mark.parametrize("top", [1, 4, 50])
@pytest.mark.parametrize("seed", range(3))
def test_top_loss_equals_a_loop(seed, top):
    request, position = ranked_rows(6, 12, seed)
    score = torch.randn(len(request))
    losses = []
    for rows in lists(request, position).values():
        inside = [float(score[row]) for row in rows if position[row] <= top]
        rest = [float(score[row]) for row in rows if position[row] > top]
        if inside and rest:
            margin = sum(inside) / len(inside) - sum(rest) / len(rest)
            losses.append(-math.log(1 / (1 + math.exp(-margin))))
    expected = sum(losses) / max(len(losses), 1)
    torch.testing.assert_close(top_loss(score, request, position, top), torch.tensor(expected))


@pytest.mark.parametrize("known", ["all", "none", "some"])
@pytest.mark.parametrize("seed", range(3))
def test_teacher_distance_equals_a_loop(seed, known):
    request, position = ranked_rows(6, 12, seed)
    score, teacher = torch.randn(len(request)), torch.randn(len(request)) * 7 + 3
    if known != "all":
        teacher[torch.rand(len(request)) < (1.1 if known == "none" else 0.1)] = NAN
    squares = []
    for rows in lists(request, position).values():
        targets = [float(teacher[row]) for row in rows]
        if any(math.isnan(target) for target in targets):
            targets = [-float(position[row]) for row in rows]
        mean = sum(targets) / len(rows)
        std = math.sqrt(sum((target - mean) ** 2 for target in targets) / len(rows))
        middle = sum(float(score[row]) for row in rows) / len(rows)
        if std > 1e-6:
            pairs = zip(rows, targets, strict=True)
            squares += [(float(score[row]) - middle - (target - mean) / std) ** 2 for row, target in pairs]
    expected = torch.tensor(sum(squares) / max(len(squares), 1))
    torch.testing.assert_close(teacher_distance(score, request, position, teacher), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("position", [[1.0, 1.0, 1.0], [NAN, INF, NAN], [1.0, NAN, INF]])
def test_lists_that_tell_nothing_have_a_gradient_of_zero(position):
    request, score = torch.tensor([4, 4, 4]), torch.randn(3, requires_grad=True)
    positions, teacher = torch.tensor(position), torch.full((3,), 0.1)
    loss = teacher_distance(score, request, positions, teacher) + top_loss(score, request, positions, 2)
    loss.backward()
    assert float(loss) == 0
    assert not score.grad.any()
    assert score.grad.isfinite().all()

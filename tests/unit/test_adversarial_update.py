"""Adversarial copies in updates of real tasks and models, in float64, against plain programs."""

import pytest
import torch

from fairseq_bas.noise.adversarial import adversarial_rows
from fairseq_bas.noise.keyed import row_keys
from tests.toys import tiny_lstm, tiny_transformer
from tests.unit.test_noise_in_update import BAS, PASSES, WORKERS, Setup, assert_close, place

SIZE = 0.07
PADDING = 1


def attacked(kind, *extra):
    return ("--bas-adversarial", kind, "--bas-adversarial-size", SIZE, *extra)


def along(gradient, embedding, padding, norm="l2"):
    """Move each row by SIZE times its length along the gradient; sign: in every component."""
    moved = torch.zeros_like(embedding)
    for row, (g, e, hidden) in enumerate(zip(gradient, embedding, padding, strict=True)):
        g, e = g[~hidden], e[~hidden]
        if norm == "sign":
            g = g.sign()
        length = g.norm() if norm == "l2" else g.numel() ** 0.5
        moved[row][~hidden] = SIZE * e.norm() / length * g
    return moved


class Plain:
    """Attack and train without any of our hooks: a pass over given copies, embeddings moved."""

    def __init__(self, setup, replicas, update_num=3, clean=()):
        self.setup, self.copies = setup, setup.task._copies(setup.sample, replicas, update_num)
        self.tokens = [self.copies["net_input"][x] for x in ("src_tokens", "prev_output_tokens")]
        self.moves = [0.0, 0.0]
        self.still = torch.tensor([int(m) in clean for m in self.copies["replica"]])

    def loss(self, moves):
        """Return the loss over M; keep what was looked up."""
        self.embeddings = [None, None]

        def move(module, args, output):
            side = int(torch.equal(args[0], self.tokens[1]))
            self.embeddings[side] = output.detach()
            return output + moves[side]

        hook = self.setup.model.encoder.embed_tokens.register_forward_hook(move)
        torch.manual_seed(self.copies["seed"])
        loss = self.setup.criterion(self.setup.model, self.copies)[0] / self.copies["num_replicas"]
        hook.remove()
        return loss

    def gradients(self):
        """Return the gradients by the embeddings of source and decoder input where they are now."""
        width = self.setup.model.encoder.embed_tokens.embedding_dim
        leaves = [torch.zeros(*t.shape, width, dtype=torch.float64) for t in self.tokens]
        leaves = [
            (leaf + move).requires_grad_() for leaf, move in zip(leaves, self.moves, strict=True)
        ]
        return torch.autograd.grad(self.loss(leaves), leaves)

    def move(self, gradients, sides=(0, 1), norm="l2"):
        for side in sides:
            padding = self.tokens[side].eq(PADDING)
            moved = along(gradients[side], self.embeddings[side], padding, norm)
            self.moves[side] = moved.masked_fill(self.still[:, None, None], 0.0)

    def train(self):
        """Add the gradient of the parameters where the embeddings are now; return the loss."""
        loss = self.loss(self.moves)
        loss.backward()
        return loss.detach()


def plain_step(setup, *passes):
    """Return loss and gradients of passes that add up, each a function of the setup."""
    setup.model.zero_grad()
    setup.model.train()
    loss = sum(make(setup).train() for make in passes)
    return loss, [p.grad.clone() for p in setup.model.parameters()]


def assert_equal_plain(ours, plain, tolerance=1e-6):
    """1e-6: fairseq's attention computes its softmax in float32."""
    torch.testing.assert_close(ours[0], plain[0], rtol=tolerance, atol=0)
    for a, b in zip(ours[3], plain[1], strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


SIDES = {"both": (0, 1), "source": (0,), "target": (1,)}


@pytest.mark.parametrize(
    ("side", "norm"), [("both", "l2"), ("both", "sign"), ("source", "l2"), ("target", "l2")]
)
def test_fgsm_equals_a_plain_program(toy, side, norm):
    """One shared embedding, tied to the output layer; dropout alike in attack and training."""
    flags = attacked("fgsm", "--bas-adversarial-side", side, "--bas-adversarial-norm", norm)
    setup = Setup(toy, tiny_transformer, *place(2, *PASSES), *BAS, *flags, dropout=0.3)

    def second(setup):
        plain = Plain(setup, range(1, 2))
        plain.move(plain.gradients(), SIDES[side], norm)
        return plain

    expected = plain_step(setup, lambda setup: Plain(setup, range(0, 1)), second)
    assert_equal_plain(setup.step(), expected)


def test_pgd_equals_a_plain_program(toy):
    """Two steps of 0.6 of the size: the second ends in the ball or is brought back to it."""
    flags = attacked("pgd", "--bas-adversarial-steps", 2, "--bas-adversarial-share", 1)
    steps = ("--bas-adversarial-step-size", 0.6 * SIZE)
    setup = Setup(toy, tiny_transformer, *BAS, *flags, *steps, dropout=0.3)

    def attack(setup):
        plain = Plain(setup, range(0, 1))
        for _ in range(2):
            gradients, start = plain.gradients(), list(plain.moves)
            plain.move(gradients)
            for side, tokens in enumerate(plain.tokens):
                moved = start[side] + 0.6 * plain.moves[side]
                ball = along(moved, plain.embeddings[side], tokens.eq(PADDING))
                inside = moved.norm(dim=(1, 2)) <= ball.norm(dim=(1, 2))
                plain.moves[side] = torch.where(inside[:, None, None], moved, ball)
        return plain

    assert_equal_plain(setup.step(), plain_step(setup, attack))


def test_free_moves_along_the_gradient_of_the_first_pass(toy):
    """M = 4 in two passes, chosen by itself, and no forward pass more than those two."""
    setup = Setup(toy, tiny_transformer, *place(4), *BAS, *attacked("free"), dropout=0.3)
    rows, left = [], {}
    setup.model.encoder.register_forward_pre_hook(lambda m, args: rows.append(len(args[0])))

    def second(setup):
        first = Plain(setup, range(0, 2))
        left["mean"] = [g.unflatten(0, (-1, 2)).mean(1) for g in first.gradients()]
        plain = Plain(setup, range(2, 4))
        plain.loss(plain.moves)
        plain.move([g.repeat_interleave(2, dim=0) for g in left["mean"]])
        return plain

    expected = plain_step(setup, lambda setup: Plain(setup, range(0, 2)), second)
    rows.clear()
    assert_equal_plain(setup.step(), expected)
    assert rows == [10, 10]


class Descent:
    """The part of an optimizer that makes updates."""

    def __init__(self, model):
        self.model = model

    def backward(self, loss):
        loss.backward()

    def step(self):
        with torch.no_grad():
            for p in self.model.parameters():
                p -= 0.02 * p.grad


def trained(toy, *flags, updates=4):
    """Return the gradients of each update of a run, and the parameters before each."""
    setup = Setup(toy, tiny_transformer, *BAS, *flags, dropout=0.3)
    optimizer, gradients, weights = Descent(setup.model), [], []
    for update_num in range(updates):
        weights.append({k: v.clone() for k, v in setup.model.state_dict().items()})
        gradients.append(setup.step(update_num)[3])
        setup.task.optimizer_step(optimizer, setup.model, update_num)
    return setup, gradients, weights


def test_stale_attacks_see_the_parameters_of_earlier_updates(toy):
    whole = ("--bas-adversarial-share", 1)
    _, fgsm, _ = trained(toy, *attacked("fgsm", *whole))
    for staleness in (0, 1, 2):
        stale = attacked("stale", *whole, "--bas-adversarial-staleness", staleness)
        setup, gradients, weights = trained(toy, *stale)
        if staleness == 0:
            for one, other in zip(fgsm, gradients, strict=True):
                assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
            continue
        for update_num in range(4):

            def attack(setup, update_num=update_num, staleness=staleness, weights=weights):
                plain = Plain(setup, range(0, 1), update_num)
                setup.model.load_state_dict(weights[max(0, update_num - staleness)])
                stale = plain.gradients()
                setup.model.load_state_dict(weights[update_num])
                plain.loss(plain.moves)
                plain.move(stale)
                return plain

            _, expected = plain_step(setup, attack)
            for a, b in zip(gradients[update_num], expected, strict=True):
                torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)
        kept = setup.task.adversary.stale.state_dict()
        assert kept["updates"] == list(range(4 - staleness, 4))


NOISE = (
    *("--bas-source-noise", "drop=0.2,jitter=0.2", "--bas-target-noise", "mask=0.2,cutoff=0.2"),
    "--bas-clean-replica",
)
PLACED = {
    "fgsm": attacked("fgsm", "--bas-adversarial-share", 0.6, *NOISE),
    "pgd": attacked("pgd", "--bas-adversarial-steps", 2, "--bas-adversarial-norm", "sign"),
    "shared encoder": attacked(
        "stale", *("--bas-adversarial-side", "target", "--bas-share", "encoder")
    ),
}


@pytest.mark.parametrize("name", PLACED)
def test_placement_changes_nothing(toy, name):
    """Law 2, with noise of embeddings below the perturbation, and copies of shared encoders."""
    flags = (*BAS, *PLACED[name])
    rows = Setup(toy, tiny_lstm, *place(4), *flags).step()
    for layout, workers in ((PASSES, 1), (("--bas-replicas-per-pass", 2), 1), (WORKERS, 2)):
        other = Setup(toy, tiny_lstm, *place(4, *layout), *flags).step(workers=workers)
        assert_close(rows, other, 1e-9)
        assert rows[2]["bas_adversarial"] == other[2]["bas_adversarial"]


def test_only_the_chosen_copies_move_and_their_loss_rises(toy):
    plain = Setup(toy, tiny_transformer, *place(4), *BAS, dropout=0.3).step()[2]
    ours = Setup(toy, tiny_transformer, *place(4), *BAS, *attacked("fgsm"), dropout=0.3).step()[2]
    nll = [[float(log[f"bas_nll_replica_{m}"]) for m in range(4)] for log in (plain, ours)]
    assert nll[0][:2] == pytest.approx(nll[1][:2], rel=1e-12)
    assert all(after > before for before, after in zip(nll[0][2:], nll[1][2:], strict=True))
    assert ours["bas_adversarial"] == 10


def test_half_of_the_sentences_where_there_is_one_copy(toy):
    setup = Setup(toy, tiny_transformer, *BAS, *attacked("fgsm"), "--seed", 5)
    replica = torch.zeros(5, dtype=torch.int64)
    counts = []
    for update_num in range(6):
        keys = row_keys(5, "target_noise", update_num, setup.sample["id"], replica)
        counts.append(int(adversarial_rows(keys, 0.5, 1).sum()))
        assert setup.step(update_num)[2]["bas_adversarial"] == counts[-1]
    assert len(set(counts)) > 2


@pytest.mark.parametrize("kind", ["fgsm", "pgd", "free", "stale"])
def test_attacks_leave_nothing_behind(toy, kind):
    """Moved by less than rounding: bit for bit the gradients of copies that nobody attacks."""
    small = ("--bas-adversarial", kind, "--bas-adversarial-size", 1e-30)
    layout = place(4, "--bas-replicas-per-pass", 2)
    seen = []
    for flags in ((), small):
        setup = Setup(toy, tiny_transformer, *layout, *BAS, *flags, dropout=0.3)
        backwards = []
        for p in setup.model.parameters():
            p.register_hook(lambda gradient, seen=backwards: seen.append(1))
        seen.append((setup.step(), len(backwards), torch.rand(3)))
        assert all(p.requires_grad for p in setup.model.parameters())
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in setup.model.modules())
    (plain, count, draws), (ours, ours_count, ours_draws) = seen
    assert count == ours_count and torch.equal(draws, ours_draws)
    assert all(torch.equal(a, b) for a, b in zip(plain[3], ours[3], strict=True))


def test_consistency_with_all_copies_in_one_pass(toy):
    """The attack raises the whole loss, what compares the copies included."""
    rdrop = (*BAS, "--bas-consistency", "rdrop", "--bas-replicas", 2)
    setup = Setup(toy, tiny_transformer, *rdrop, *attacked("fgsm"), dropout=0.3)

    def both(setup):
        plain = Plain(setup, range(0, 2), clean=(0,))
        plain.move(plain.gradients())
        return plain

    assert_equal_plain(setup.step(), plain_step(setup, both))


def test_noise_comes_first(toy):
    """What noise has hidden is moved too: the perturbation is added last."""
    setup = Setup(toy, tiny_transformer, *BAS, "--bas-target-noise", "cutoff=0.5")
    copies = setup.task._copies(setup.sample, range(0, 1), 3)
    copies["perturbations"] = {"target": lambda embedding, tokens: embedding + 1}
    seen = []
    with setup.task._in_model(setup.model, copies):
        hook = setup.model.decoder.embed_tokens.register_forward_hook(
            lambda module, args, output: seen.append(output)
        )
        setup.model(**copies["net_input"])
        hook.remove()
    source, target = (embedding.eq(1).all(2) for embedding in seen)
    assert not source.any() and target.sum() >= 5

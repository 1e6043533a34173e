"""How many directions a matrix keeps: ranks from singular values, signs, random vectors."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

Sparse = Any  # a SciPy csr_array; SciPy takes a moment to import that few need


def singular_values(gram: Float[Tensor, "*batch m m"]) -> Float[Tensor, "*batch m"]:
    """Singular values of J from its Gram matrix J Jᵀ, largest first.

    Squaring costs half of the digits: what is below 1e-7 of the largest is rounding.

    Args:
        gram: J Jᵀ, one or a batch.

    Returns:
        Zero or more, in float64.

    Example:
        >>> j = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
        >>> singular_values(j @ j.T)
        tensor([4., 3.], dtype=torch.float64)
    """
    return torch.linalg.eigvalsh(gram.double()).flip(-1).clamp(min=0).sqrt()


def numerical_rank(values: Float[Tensor, "*batch m"], rtol: float) -> Int[Tensor, "*batch"]:
    """How many singular values exceed `rtol` times the largest.

    Args:
        values: Singular values, of one matrix or of a batch.
        rtol: In (0, 1).

    Returns:
        0 for a matrix of zeros.

    Example:
        >>> numerical_rank(torch.tensor([[2.0, 1.0, 1e-9], [0.0, 0.0, 0.0]]), 1e-5)
        tensor([2, 0])
    """
    return (values > rtol * values.amax(dim=-1, keepdim=True)).sum(dim=-1)


def effective_rank(values: Float[Tensor, "*batch m"]) -> Float[Tensor, "*batch"]:
    """How many directions carry a matrix, were they all equal: exp of the entropy.

        exp(−Σ p_i log p_i),   p_i = σ_i / Σ σ   (Roy and Vetterli, EUSIPCO 2007)

    Args:
        values: Singular values, of one matrix or of a batch.

    Returns:
        In [1, rank]; 0 for a matrix of zeros.

    Example:
        >>> effective_rank(torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]))
        tensor([2., 0.])
    """
    total = values.sum(dim=-1, keepdim=True)
    shares = values / total.clamp(min=torch.finfo(values.dtype).tiny)
    return torch.special.entr(shares).sum(dim=-1).exp() * (total.squeeze(-1) > 0)


def stable_rank(values: Float[Tensor, "*batch m"]) -> Float[Tensor, "*batch"]:
    """‖J‖_F² / ‖J‖₂²: the rank that small singular values do not count in.

    Args:
        values: Singular values, of one matrix or of a batch.

    Returns:
        In [1, rank]; 0 for a matrix of zeros.

    Example:
        >>> stable_rank(torch.tensor([2.0, 1.0, 0.0]))
        tensor(1.2500)
    """
    largest = values.amax(dim=-1).square()
    return values.square().sum(dim=-1) / largest.clamp(min=torch.finfo(values.dtype).tiny)


def largest_singular_value(matrix: Sparse) -> float:
    """‖B‖₂ of a sparse matrix.

    Example:
        >>> from scipy import sparse
        >>> round(largest_singular_value(sparse.csr_array(np.diag([3.0, 4.0]))), 6)
        4.0
    """
    if matrix.nnz == 0:
        return 0.0
    shape: Any = matrix.shape
    smaller = min(shape)
    if smaller < 3:  # too small for Lanczos
        return float(np.linalg.norm(matrix.toarray(), 2))
    start = np.random.default_rng(0).random(smaller)
    from scipy.sparse import linalg

    values: Any = linalg.svds(matrix, k=1, v0=start, return_singular_vectors=False)
    return float(values[0])


def count_above(matrix: Sparse, bound: float) -> int:
    """How many singular values of a sparse matrix B exceed a bound τ: exact, and without any.

    [[−τ I, B], [Bᵀ, −τ I]] has the eigenvalues −τ ± σ_i, and −τ. By Sylvester's law of inertia as
    many of them are positive as there are positive pivots in its factorisation L D Lᵀ. Time and
    memory are those of a sparse factorisation: they depend on how the graph can be cut.

    Args:
        matrix: B, sparse.
        bound: τ > 0, not below about 1e-7 of the largest singular value.

    Returns:
        In [0, min(rows, columns)].

    Example:
        >>> from scipy import sparse
        >>> count_above(sparse.csr_array(np.array([[1.0, 1.0], [1.0, 1.0]])), 1e-5)
        1
    """
    matrix = matrix[np.diff(matrix.indptr) > 0].tocsc()
    matrix = matrix[:, np.diff(matrix.indptr) > 0]
    if matrix.nnz == 0:
        return 0
    shape: Any = matrix.shape
    from scipy import sparse
    from scipy.sparse import linalg

    rows, columns = (-bound * sparse.eye_array(size) for size in shape)
    whole = sparse.block_array([[rows, matrix], [matrix.T, columns]], format="csc")
    # No pivoting: it would spoil the signs. No pivot is zero unless τ is a singular value of a
    # part of B, and growth is bounded by 1/τ.
    factors = linalg.splu(
        whole,
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )
    return int((factors.U.diagonal() > 0).sum())


@dataclass(frozen=True, eq=False)
class Quadrature:
    """What random vectors say of the eigenvalues of a symmetric operator A ≥ 0 of some size.

    Attributes:
        size: Number of eigenvalues.
        values: Ritz values θ of each vector's Krylov space, [probes, steps]; fewer are padded
            with zeros of no weight.
        weights: Share of all eigenvalues that each stands for, [probes, steps].
        residuals: How far from an eigenvalue each may be, [probes, steps].
    """

    size: int
    values: Float[Tensor, "probes steps"]
    weights: Float[Tensor, "probes steps"]
    residuals: Float[Tensor, "probes steps"]

    @property
    def largest(self) -> float:
        """The largest eigenvalue."""
        return float(self.values.max())

    def trace(self, function: Callable[[Tensor], Tensor]) -> Float[Tensor, " probes"]:
        """Estimates of Σ_i f(λ_i), one of each random vector."""
        return self.size * (self.weights * function(self.values)).sum(dim=1)

    def count(self, rtol: float) -> tuple[float, float]:
        """How many eigenvalues exceed `rtol`² of the largest: σ_i > rtol σ_max for A = J Jᵀ.

        A Ritz vector with θ below the bound lies, up to θ, in the eigenvectors below it. By the
        Chebyshev–Markov–Stieltjes inequalities only the weight of the first value above may also
        lie below, unless an eigenvalue is near that; half of it is then counted.

        Returns:
            The number and its error: the standard error, and half the weight that is unclear.
        """
        bound = rtol**2 * self.largest
        below = self.values <= bound
        above = torch.where((self.weights > 0) & ~below, self.values, torch.inf)
        first = torch.zeros_like(below).scatter(1, above.argmin(dim=1, keepdim=True), True)
        unclear = first & ~below & (self.values - bound <= self.residuals)
        shares = self.weights * (~below & ~unclear) + self.weights * unclear / 2
        counts = self.size * shares.sum(dim=1)
        bracket = self.size * float((self.weights * unclear).sum(dim=1).mean()) / 2
        return float(counts.mean()), float(counts.std()) / len(counts) ** 0.5 + bracket


def quadrature(
    apply: Callable[[Float[Tensor, " size"]], Float[Tensor, " size"]],
    size: int,
    generator: torch.Generator,
    *,
    steps: int,
    probes: int,
) -> Quadrature:
    """Stochastic Lanczos quadrature (Ubaru, Chen and Saad, SIAM J. Matrix Anal. Appl. 2017).

    For random signs v, vᵀ f(A) v has the mean Σ f(λ_i); Lanczos gives it as Σ_k w_k f(θ_k). After
    k steps small eigenvalues are told from zero down to about 1/k² of the largest. Costs `probes`
    times `steps` products with A, and memory for `steps` vectors.

    Args:
        apply: v ↦ A v, with A symmetric, in any precision.
        size: Of v.
        generator: Draws v.
        steps: Of Lanczos, at most.
        probes: Random vectors, at least 2.

    Example:
        >>> diagonal = torch.tensor([0.0, 0.0, 1.0, 4.0]).double()
        >>> found = quadrature(
        ...     lambda v: diagonal * v, 4, torch.Generator().manual_seed(0), steps=9, probes=2
        ... )
        >>> round(found.count(1e-5)[0], 6), round(float(found.trace(lambda v: v).mean()), 6)
        (2.0, 5.0)
    """
    steps = min(steps, size)
    basis = torch.empty(steps, size, dtype=torch.float64)
    runs: list[Tensor] = []
    for _ in range(probes):
        signs = torch.randint(0, 2, (size,), generator=generator).double() * 2 - 1
        run = _lanczos(apply, signs / size**0.5, basis)
        runs.append(torch.nn.functional.pad(run, (0, steps - run.shape[1])))
    values, weights, residuals = torch.stack(runs, dim=1)
    return Quadrature(size, values, weights, residuals)


def _lanczos(
    apply: Callable[[Tensor], Tensor], start: Tensor, basis: Tensor
) -> Float[Tensor, "3 steps"]:
    """Ritz values, weights and residuals of one start; the basis is kept orthogonal throughout."""
    diagonal: list[float] = []
    beside: list[float] = []
    v = start
    for k in range(len(basis)):
        basis[k] = v
        image = apply(v).double()
        diagonal.append(float(image @ v))
        for _ in range(2):  # once leaves what cancellation spoils
            image = image - basis[: k + 1].T @ (basis[: k + 1] @ image)
        length = float(image.norm())
        beside.append(length)
        if length <= 1e-13 * max(map(abs, diagonal)) or not any(diagonal):
            beside[-1] = 0.0
            break
        v = image / length
    matrix = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    offset = torch.tensor(beside[:-1], dtype=torch.float64)
    matrix += torch.diag(offset, 1) + torch.diag(offset, -1)
    values, vectors = torch.linalg.eigh(matrix)
    return torch.stack([values.clamp(min=0), vectors[0] ** 2, beside[-1] * vectors[-1].abs()])

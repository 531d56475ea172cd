"""What must not be kept in the clear: credentials are masked before anything is stored."""

from .mask import MASK, UNMASKED, Mask, Masked

__all__ = ["MASK", "UNMASKED", "Mask", "Masked"]

"""What must not be kept in the clear: credentials are masked before they are stored, and all can be sealed."""

from .form import PLAIN, Form
from .mask import MASK, UNMASKED, Mask, Masked

__all__ = ["MASK", "PLAIN", "UNMASKED", "Form", "Mask", "Masked"]

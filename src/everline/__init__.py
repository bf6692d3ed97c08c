"""Everline: active-active call intelligence for contact centres and carriers."""

__all__ = ["__version__"]

__version__ = "0.1.0"

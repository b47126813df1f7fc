"""Run by every Python that has this folder on its path: the SDK's tests start processes of their own."""

from swap_provider import swap

swap()

"""The doors: how calls come in."""

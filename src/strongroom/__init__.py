"""Strongroom: payouts whose worst loss is chosen beforehand by the company that pays."""

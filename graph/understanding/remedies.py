"""What to do about rows that a check rejects."""

from __future__ import annotations

import re

REMEDIES = {
    r"request_id is null.*": "map a column that all rows of a search share; rows of no search can be left out by where",
    r"user_id is null.*": "let the session stand in for unknown users: coalesce(user_id, session_id)",
    r"item_id is null.*": "rows that show no item can be left out by where",
    r"query is null": "a search without words has the empty query: coalesce(query, '')",
    r"timestamp is null": (
        "the time could not be read: to_timestamp(x) of seconds, epoch_ms(x) of milliseconds, strptime(x, "
        "'%d.%m.%Y %H:%M') of text"
    ),
    r"timestamp is not of its folder's day": "days are UTC: name the folders, or write the times, by UTC",
    r"(clicked|ordered) is neither.*": "write true and false: lower(x) = 'yes' of words, x > 0 of counts",
    r"stage is none of.*": "rename the stages, or leave the column out where every row was shown",
    r"position is below 1": "positions begin at 1: if ranks begin at 0, add 1 (position: rank + 1)",
    r"position is not a whole.*|position is above.*": "a position is a rank from 1: map a score to rank_score",
    r"position without rank.*": "only exposed and ranked rows have a position: null for the others",
    r"price is negative|.* is not finite": "write null where it is unknown: CASE WHEN price >= 0 THEN price END",
    r"propensity is outside.*": "a propensity is a probability above 0 and at most 1",
    r"item_id is not in the items table": (
        "add the items, or write their ids as the log does (leading zeros, large letters, blanks); without an items "
        "table it is made of the log's"
    ),
    r"request_id occurs on an earlier day": "ids that start anew each day need it: concat_ws('/', day, request_id)",
    r"(user_id|query|session_id|timestamp) differs within.*": (
        "request_id does not name one search: make it of more columns, as concat_ws('/', session_id, query, page)"
    ),
    r"item_id repeats in the request": "one row an item and request: is request_id a session's, or a row an event?",
    r"position repeats in the request": "if each page counts from 1, add its offset: position + (page - 1) * size",
    r"\w+ repeats in (items|users|queries)": "one row each: choose by where which variant or version counts",
    r"\w+ is null or empty in \w+": "rows without a key can be left out by where",
}
"""Reason of a check, as a pattern → what to do."""


def remedy(reason: str) -> str:
    """What to do about rows that were rejected for a reason; empty where nothing is known."""
    return next((what for pattern, what in REMEDIES.items() if re.fullmatch(pattern, reason)), "")

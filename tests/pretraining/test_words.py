"""What a word is, in Python."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfhub_transfer.pretraining.words.splitting import NORMALIZATIONS, splitter


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@settings(deadline=None)
@given(text=st.text(st.characters(max_codepoint=127)))
def test_texts_of_ascii_are_split_like_others(normalization, text):
    split = splitter(normalization)
    assert split(text) == split(f"{text} é")[:-1]

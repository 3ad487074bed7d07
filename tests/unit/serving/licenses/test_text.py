"""The identity of a license text: its words, not its bytes."""

import pytest

from llama_serving.licenses.text import text_hash

TEXT = '"Agreement" means the terms and condi-\ntions for use of the Llama Materials.\n\n1. License Rights\n'


@pytest.mark.parametrize(
    "same",
    [
        "\u201cAgreement\u201d means the terms and conditions for use of the Llama Materials. 1. License Rights",
        '**"Agreement"** means  the terms\nand conditions for use of the\n\nLlama Materials.\r\n\r\n### 1. License Rights',
        '\ufeff"Agreement" means the terms and conditions for use of the Llama Materials.\u00a01. License Rights',
        '- "agreement" means the terms and conditions for use of the llama materials. 1. license rights',
    ],
)
def test_the_same_words_have_the_same_hash(same):
    assert text_hash(same) == text_hash(TEXT)


@pytest.mark.parametrize(
    "edited",
    [
        TEXT.replace("Llama Materials", "Materials"),
        TEXT.replace("means", "does not mean"),
        TEXT + "2. Everything is allowed.",
        TEXT.replace("1.", "2."),
        "",
    ],
)
def test_an_edited_text_has_another_hash(edited):
    assert text_hash(edited) != text_hash(TEXT)

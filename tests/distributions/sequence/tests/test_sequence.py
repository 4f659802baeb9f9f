"""What sequences ask for: strands, k-mers, files."""

import pytest
import torch
from sensorium_sequence.alphabet import SPECIAL, Alphabet
from sensorium_sequence.families import Families
from sensorium_sequence.fasta import Fasta
from sensorium_sequence.modality import SequenceModality
from sensorium_sequence.views import Augment, Strand, TokenMask, reverse_complemented

import sensorium


def batch_of(modality, *texts):
    return modality.collate([modality.decode(text) for text in texts])


@pytest.mark.parametrize(
    ("k", "text", "turned"), [(1, "AACGT", "ACGTT"), (3, "AAACGT", "ACGTTT"), (2, "GATTACA", "GTAATC")]
)
def test_the_reverse_complement_reads_the_other_strand(k, text, turned):
    modality = SequenceModality(k=k)
    batch = batch_of(modality, text, "ACGTACGTACGT")
    once = reverse_complemented(batch, torch.tensor([True, False]), modality.alphabet.complements)
    assert modality.alphabet.decode(modality.examples(once)[0].tolist()) == turned
    twice = reverse_complemented(once, torch.tensor([True, False]), modality.alphabet.complements)
    assert torch.equal(twice.ids, batch.ids)


def test_gaps_case_rna_and_ambiguous_letters():
    modality = SequenceModality()
    assert torch.equal(modality.decode("acgu-.\n"), modality.decode("ACGT"))
    assert modality.decode("ANA").tolist() == [SPECIAL, 1, SPECIAL]
    with pytest.raises(sensorium.BadSample, match="'!' is no letter of DNA"):
        modality.decode("ACG!")
    with pytest.raises(sensorium.SensoriumError, match="more than 4096: choose a smaller k"):
        SequenceModality("protein", k=3)
    assert Alphabet("protein", 2).size == 402


def test_proteins_have_no_other_strand():
    modality = SequenceModality("protein")
    with pytest.raises(sensorium.SensoriumError, match="a protein has no other strand"):
        Strand(modality)
    with pytest.raises(sensorium.SensoriumError, match="set turn to 0"):
        Augment(modality, turn=0.5)
    assert len(Augment(modality)(batch_of(modality, "MKV", "ACDEF"), torch.Generator())) == 2


def test_masked_tokens_are_the_target():
    modality = SequenceModality()
    batch = batch_of(modality, "ACGTACGTAC", "NNACGT")
    (view,) = TokenMask(modality, rate=0.5)(batch, torch.Generator().manual_seed(0))
    masked = view.info["masked"]
    assert masked.sum(1).tolist() == [5, 2]
    assert torch.equal(view.target[masked], batch.ids[masked])
    assert (view.target[~masked] == -100).all()


def test_a_fasta_file_is_read_with_its_labels(tmp_path):
    path = tmp_path / "a.fasta"
    path.write_text("# comment\n>x OX=9606 some words\nACG\nT\n>y\nGG\n")
    source = Fasta(str(path), labels={"taxon": r"OX=(\d+)"})
    assert [(r.id, r.values["sequence"], r.values["text"], r.labels) for r in source] == [
        ("x", "ACGT", "OX=9606 some words", {"taxon": "9606"}),
        ("y", "GG", None, {}),
    ]
    assert source.locate(1, "sequence").line == 5
    assert source.notes() == [f"1 lines before the first header of {path} are ignored"]
    path.write_text(">x\nA\n>x\nC\n")
    with pytest.raises(sensorium.SensoriumError, match=r"The id 'x' at .*, line 3 is that of line 1 of"):
        Fasta(str(path))


def test_families_are_the_same_each_time():
    one, other = Families(records=16), Families(records=16)
    assert [one[i].values for i in range(16)] == [other[i].values for i in range(16)]
    assert {one.key(i).labels["family"] for i in range(16)} == {one.key(i).labels["family"] for i in range(8)}

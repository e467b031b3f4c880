"""Bad input, from one table: what is called → the value that the error names. Nothing ends in a library's traceback.

Beside it test_errors.py, whose errors say more, and which damages files.
"""

import os

import matplotlib.pyplot as plt
import numpy as np
import pytest
import scipy.sparse
import torch

import course_utils
from course_utils import __main__ as commands
from course_utils import (
    bigrams,
    checkpoints,
    circuits,
    corpus,
    formation,
    interventions,
    losses,
    plots,
    scores,
    skip_trigrams,
    term_importance,
    training,
)  # fmt: skip
from course_utils.config import ModelConfig, TrainConfig
from course_utils.errors import CourseError
from course_utils.factored import FactoredMatrix
from course_utils.model import AttentionOnlyTransformer
from tools import notebooks, workshop

MODULES = (
    bigrams, checkpoints, circuits, corpus, formation, interventions, losses, plots, scores, skip_trigrams, term_importance,
    training,
)  # fmt: skip

CALLS = {
    # models
    "load_model(7)": "model 7",
    "load_model(None)": "model None",
    "load_model('two-layer', folder=tmp / 'no')": "model 'two-layer'",
    "load_model('zero-layer', device='gpu')": "device 'gpu'",
    "load_model('zero-layer', device=3)": "device 3",
    # devices
    "pick_device(3)": "device 3",
    "pick_device('cuda:x')": "device 'cuda:x'",
    "pick_device(['cpu'])": "device ['cpu']",
    "pick_device('meta')": "device 'meta'",
    # text
    "load_tokenizer([1])": "vocabulary [1]",
    "load_tokenizer('4096')": "vocabulary '4096'",
    "load_text(None)": "split None",
    "load_text(['train'])": "split ['train']",
    "load_text('train', 5)": "vocabulary 5",
    "load_tokenizer().encode_batch('abc')": "texts of type str",
    "load_tokenizer().encode_batch(None)": "texts of type NoneType",
    "load_tokenizer().encode_batch(['a', None])": "text of type NoneType",
    "load_tokenizer().decode('abc')": "ids ['a', 'b', 'c']",
    "load_tokenizer().decode(None)": "ids None",
    "load_tokenizer().decode(5)": "ids 5",
    "load_tokenizer().decode([1.5])": "ids [1.5]",
    "load_tokenizer().decode(tensor([[1, 2]]))": "ids [[1, 2]]",
    "load_tokenizer().decode(tensor(3))": "ids 3",
    "load_tokenizer().decode([[1]])": "ids [[1]]",
    "load_tokenizer().decode(tensor([1.5]))": "ids [1.5]",
    "load_tokenizer().show('a')": "ids ['a']",
    "load_tokenizer().show(9999)": "token id 9999",
    "windows('abc', 4)": "ids of type str",
    "windows(None, 4)": "ids of type NoneType",
    "windows(torch.arange(9), '4')": "n_ctx is '4'",
    "windows(torch.arange(9), 4.0)": "n_ctx is 4.0",
    "windows(torch.arange(9), 4, starts=tensor([1.5]))": "ids of shape [1], torch.float32",
    "windows(torch.ones(9, dtype=torch.bool), 4)": "ids of shape [9], torch.bool",
    "corpus.window_starts('abc', 4)": "ids of type str",
    "corpus.window_starts(torch.arange(9), 0)": "n_ctx is 0",
    "corpus.window_documents(torch.arange(9), 1)": "n_ctx is 1",
    "corpus.documents('abc')": "ids of type str",
    "corpus.documents(torch.arange(1, 4))": "a text of 3 tokens",
    "corpus.join([])": "documents []",
    "corpus.join(['ab'])": "documents ['ab']",
    "corpus.join(None)": "encoded of type NoneType",
    "corpus.token_counts(7)": "vocabulary 7",
    "corpus.common_tokens(4096, 'x')": "least is 'x'",
    "corpus.common_tokens(7)": "vocabulary 7",
    "corpus.count_bigrams('abc', 4)": "ids of type str",
    "corpus.count_bigrams(tensor([1, 9]), 4)": "ids from 1 to 9",
    "corpus.count_bigrams(tokens, 9)": "ids of shape [2, 4], torch.int64",
    "corpus.count_bigrams(tensor([1, -2, 3]), 9)": "ids from -2 to 3",
    "corpus.count_bigrams(tensor([1, 2]), 0)": "d_vocab is 0",
    "corpus.read('nothing')": "nothing",
    "corpus.read(None)": "name of type NoneType",
    "corpus.pack_bigrams(None)": "a NoneType of shape []",
    "corpus.read('.')": ".",
    # sizes and models
    "ModelConfig('2')": "n_layers is '2'",
    "ModelConfig(n_ctx=None)": "n_ctx is None",
    "ModelConfig(smeared_keys=1)": "smeared_keys is 1",
    "TrainConfig(steps=1, text=None)": "text is None",
    "TrainConfig(steps='9')": "steps is '9'",
    "TrainConfig(steps=1, lr=float('inf'))": "lr is inf",
    "TrainConfig(steps=1).rate('x')": "step is 'x'",
    "AttentionOnlyTransformer({'n_layers': 1})": "cfg of type dict",
    "AttentionOnlyTransformer(None)": "cfg of type NoneType",
    "AttentionOnlyTransformer.init(ModelConfig(1, 1, 4, 4, 8, 4), 'x')": "seed is 'x'",
    "AttentionOnlyTransformer.init(ModelConfig(1, 1, 4, 4, 8, 4), -1)": "seed is -1",
    "AttentionOnlyTransformer.init(ModelConfig(1, 1, 4, 4, 8, 4), 0, -1.0)": "positions is -1.0",
    "AttentionOnlyTransformer.init(ModelConfig(1, 1, 4, 4, 8, 4), 0, float('nan'))": "positions is nan",
    "model.attention_scores(torch.ones(1, 4, 12), 2)": "layer is 2",
    "model.attention_scores(torch.ones(1, 4, 11), 0)": "a stream of shape [1, 4, 11]",
    "model.attention_scores(torch.ones(1, 10, 12), 0)": "a stream of shape [1, 10, 12]",
    "model.attention_scores(torch.ones(4, 12), 0)": "a stream of shape [4, 12]",
    "cache.head_out(2, 0)": "head 2.0",
    "cache.head_out(0, 5)": "head 0.5",
    "cache.head_out(0, -1)": "head 0.-1",
    "cache.head_out('0', 0)": "head 0.0",
    # files of weights
    "checkpoints.load_card('nope')": "nope.json",
    "checkpoints.load_card(None)": "None.json",
    "checkpoints.load_log(None)": "the log of None",
    "checkpoints.read_tensors('nope')": "nope",
    "checkpoints.read_about('nope')": "nope",
    "checkpoints.read_about(checkpoints.WEIGHTS / 'two-layer.safetensors')": "two-layer.safetensors",
    "checkpoints.write_tensors(tmp / 'a', {'a': 3})": "tensors for a",
    "checkpoints.write_tensors(tmp / 'a', {'a': tokens, 'b': tokens})": "tensors for a",
    "checkpoints.write_tensors(tmp / 'a', {'a': tokens.T})": "tensors for a",
    "checkpoints.write_tensors(tmp / 'a', {'a': tokens.clone()}, {'x': 3})": "tensors for a",
    "checkpoints.write_atomically(tmp / 'b', 'text')": "raw of type str",
    "checkpoints.save_model(None, 'x', {}, tmp)": "model of type NoneType",
    "checkpoints.save_model(model, 'x', {'a': object()}, tmp)": "the card of x",
    "checkpoints.save_model(model, 'a/b/../..', {}, tmp)": "the name 'a/b/../..'",
    # circuits
    "circuits.W_QK(model, 2, 0)": "head 2.0",
    "circuits.W_OV(model, 0, 3)": "head 0.3",
    "circuits.W_QK(model, '0', 0)": "head 0.0",
    "circuits.W_QK(model, 0.5, 0)": "head 0.5.0",
    "circuits.W_QK(None, 0, 0)": "model of type NoneType",
    "circuits.qk_circuit(headless, 0, 0)": "head 0.0",
    "circuits.ov_circuit(model, -1, 0)": "head -1.0",
    "circuits.qk_circuit_through(model, (1, 0), (2, 0))": "head 2.0",
    "circuits.qk_circuit_through(model, 1, 0)": "head 1",
    "circuits.centre([1, 2], 0)": "values of type list",
    "circuits.centre(torch.ones(2), 1)": "dim is 1",
    "circuits.centre(tokens, 0)": "values of type Tensor",
    "circuits.positivity([1, 2])": "eigenvalues of type list",
    "circuits.positivity(tokens)": "eigenvalues of type Tensor",
    "circuits.random_heads(None)": "model of type NoneType",
    "circuits.random_heads(model, 'x')": "seed is 'x'",
    "list(circuits.path_expansion(model, tokens + 90, cache.pattern))": "token ids from 90 to 97",
    "list(circuits.path_expansion(model, tokens, cache.pattern[:1]))": "patterns of shape [1, 2, 3, 4, 4]",
    "list(circuits.path_expansion(model, [[1]], cache.pattern))": "tokens of type list",
    "list(circuits.path_expansion(model, tokens, None))": "pattern of type NoneType",
    "circuits.through_head(model, torch.ones(2, 4, 12), cache.pattern[0, :, 0], 0, 9)": "head 0.9",
    "circuits.frozen(model, torch.ones(2, 4, 11), cache.pattern)": "a stream of shape [2, 4, 11]",
    "circuits.frozen(model, torch.ones(2, 3, 12), cache.pattern)": "patterns of shape [2, 2, 3, 4, 4]",
    "circuits.frozen(model, torch.ones(12), cache.pattern)": "a stream of shape [12]",
    "circuits.score_terms(model, {}, 0, 0)": "resid_parts is {}",
    "circuits.score_terms(model, [], 0, 0)": "resid_parts is []",
    "circuits.score_terms(model, {'a': torch.ones(1, 2, 3)}, 0, 0)": "a stream of shape [1, 2, 3]",
    "circuits.stream_parts(model, cache, 3)": "layer is 3",
    "circuits.stream_parts(model, cache, -1)": "layer is -1",
    "circuits.stream_parts(model, None, 1)": "cache of type NoneType",
    "circuits.composition_scores(model, 0)": "layer 0",
    "circuits.composition_scores(model, '1')": "layer 1",
    "circuits.composition_baseline(model, 0)": "draws is 0",
    "circuits.composition_baseline(headless)": "layer 1",
    "circuits.composition(wide, wide)": "a product of shapes [4, 3] and [4, 3]",
    "circuits.composition(torch.ones(3, 3), None)": "a matrix of type NoneType",
    # scores
    "scores.loss_by_position(model, tokens, 0)": "batch is 0",
    "scores.loss_by_position(model, [[1, 2]])": "windows of type list",
    "scores.loss_by_position(model, tokens[:, :1])": "windows of shape [2, 1]",
    "scores.mean_loss(model, tokens + 90)": "token ids from 90 to 97",
    "scores.mean_loss(model, tokens[:, :2])": "windows of shape [2, 2]",
    "scores.repeated_tokens(1024, 0)": "n is 0",
    "scores.repeated_tokens(17)": "vocabulary 17",
    "scores.repeated_tokens(1024, seed='x')": "seed is 'x'",
    "scores.repeated_tokens(1024, shortest='4')": "repeats of 4 to 100",
    "scores.prefix_matching_scores(model)": "vocabulary 17",
    "scores.prefix_matching_scores(AttentionOnlyTransformer.init(ModelConfig(1, 1, 4, 4, 1024, 9)), n=0)": "n is 0",
    "scores.successors(tensor([1, 2]))": "windows of shape [2]",
    "scores.successors([[1]])": "windows of type list",
    "scores.previous_token_scores(model, tokens[:, :2])": "windows of shape [2, 2]",
    "scores.previous_token_scores(model, torch.ones(1, 20, dtype=torch.long))": "a context of 20 tokens",
    "scores.in_context_score(torch.zeros(5, 255), torch.arange(4))": "values and documents of shapes [5] and [4]",
    "scores.in_context_score(torch.zeros(5, 255), torch.arange(5), 0)": "draws is 0",
    "scores.in_context_score(torch.zeros(255), torch.arange(5))": "losses of shape [255]",
    "scores.late_less_early([1])": "losses of type list",
    "scores.bootstrap(torch.zeros(0), torch.zeros(0))": "values and documents of shapes [0] and [0]",
    "scores.bootstrap(torch.ones(2), torch.arange(2), seed=-1)": "seed is -1",
    "scores.bootstrap(['a'], [1])": "values that are no numbers",
    # interventions
    "interventions.run_without(model, tokens, [(2, 0)])": "head 2.0",
    "interventions.run_without(model, tokens, [0])": "head 0",
    "interventions.run_without(model, tokens, 5)": "heads of type int",
    "interventions.run_without(model, tokens, (0, 1))": "head 0",
    "interventions.run_without(model, tokens, paths=[((0, 0), (1, 0), 'X')])": "side 'X'",
    "interventions.run_without(model, tokens, paths=[((0, 0), (1, 0))])": "path ((0, 0), (1, 0))",
    "interventions.run_without(model, tokens, paths=[((1, 0), (0, 0), 'K')])": "a path from layer 1 to layer 0",
    "interventions.run_without(model, tokens + 90)": "token ids from 90 to 97",
    "interventions.run_without(model, [[1]])": "tokens of type list",
    "interventions.run_without(model, torch.ones(1, 12, dtype=torch.long))": "a context of 12 tokens",
    "interventions.run_without(model, tokens, [(0, 0)], means=torch.ones(2, 3, 5))": "means of shape [2, 3, 5]",
    "interventions.run_without(model, tokens, ['0.0'])": "head '0.0'",
    "interventions.run_without(model, tokens, [(0.0, 0)])": "head (0.0, 0)",
    "interventions.pattern_without(model, cache, (1, 0), [(0, 0)], 'V')": "side 'V'",
    "interventions.pattern_without(model, cache, (1, 0), [(0, 0)], 'Z')": "side 'Z'",
    "interventions.pattern_without(model, None, (1, 0), [(0, 0)], 'K')": "cache of type NoneType",
    "interventions.pattern_without(model, cache, (7, 0), [], 'K')": "head 7.0",
    "interventions.pattern_without(model, cache, (1, 0), (0, 0), 'K')": "head 0",
    "interventions.path_effects(model, tokens, 0)": "head -1.0",
    "interventions.path_effects(model, tokens, 2)": "head 2.0",
    "interventions.path_effects(model, tokens[0])": "tokens of shape [4]",
    "interventions.path_effects(model, tokens[:, :1])": "the number of positions is 1",
    "term_importance.streams_by_order(model, tokens, cache.pattern[:1])": "patterns of shape [1, 2, 3, 4, 4]",
    "term_importance.streams_by_order(model, tokens + 90, cache.pattern)": "token ids from 90 to 97",
    "circuits.layer_output(model, torch.ones(2, 4, 12), cache.pattern, 2)": "layer is 2",
    "circuits.layer_output(model, torch.ones(2, 4, 11), cache.pattern, 0)": "a stream of shape [2, 4, 11]",
    "losses.stream_loss(model, torch.ones(2, 4, 12), tokens[:1])": "a stream [2, 4, 12] and tokens [1, 4]",
    "losses.stream_loss(model, torch.ones(2, 4, 11), tokens)": "a stream of shape [2, 4, 11]",
    "losses.stream_loss(model, torch.ones(2, 2, 12), tokens[:, :2])": "a stream [2, 2, 12] and tokens [2, 2]",
    "losses.stream_loss(model, torch.ones(2, 4, 12), tokens + 90)": "token ids from 90 to 97",
    # low-rank matrices
    "FactoredMatrix(torch.ones(3), torch.ones(3))": "factors of shapes [3] and [3]",
    "FactoredMatrix([1], [2])": "a factor of type list",
    "FactoredMatrix(torch.ones(2, 2), torch.ones(2, 2).double()).AB": "factors of torch.float32 and torch.float64",
    "wide @ wide": "a product of shapes [4, 3] and [4, 3]",
    "wide @ [1]": "a side of a product of type list",
    "torch.ones(3, 3) @ wide": "a product of shapes [3, 3] and [4, 3]",
    "wide.trace()": "a matrix of shape [4, 3]",
    "wide.eigenvalues()": "a matrix of shape [4, 3]",
    "wide.take(tensor([9]))": "rows from 9 to 9",
    "wide.take([0, 9])": "rows from 0 to 9",
    "wide.take(columns=tensor([7]))": "columns from 7 to 7",
    "wide.row_topk(0)": "k is 0",
    "wide.row_topk('2')": "k is 2",
    "wide.row_topk(1.5)": "k is 1.5",
    "wide.largest(99)": "k is 99",
    "wide.largest(0)": "k is 0",
    "wide.largest(1.5)": "k is 1.5",
    # skip-trigrams
    "skip_trigrams.of_head(model, 0, 0, 5)": "vocabulary 17",
    "skip_trigrams.of_head(load_model('one-layer'), 0, 0, 0)": "k is 0",
    "skip_trigrams.of_head(load_model('one-layer'), 0, 12, 5)": "head 0.12",
    "skip_trigrams.per_source(wide, wide, 2)": "tables of shapes [4, 3] and [4, 3]",
    "skip_trigrams.per_source(wide, FactoredMatrix(torch.ones(3, 2), torch.ones(2, 4)), 0)": "k is 0",
    "skip_trigrams.largest(wide, wide, 2)": "tables of shapes [4, 3] and [4, 3]",
    "skip_trigrams.largest(wide, FactoredMatrix(torch.ones(3, 2), torch.ones(2, 4)), 0)": "k is 0",
    "skip_trigrams.largest(torch.ones(2, 2), torch.ones(2, 2), 1)": "a table of type Tensor",
    "skip_trigrams.count([], tensor([1]), tensor([1]), tensor([1]))": "ids of shape [0], torch.float32",
    "skip_trigrams.count(torch.arange(5), tensor([]), tensor([]), tensor([]))": "ids of shape [0], torch.float32",
    "skip_trigrams.count(torch.arange(5), tensor([1]), tensor([1, 2]), tensor([1]))": "tokens of lengths [1, 2, 1]",
    "skip_trigrams.count(torch.arange(5), tensor([-1]), tensor([1]), tensor([1]))": "ids from -1 to -1",
    "skip_trigrams.count(torch.arange(5), tensor([1]), tensor([2]), tensor([3]), 0)": "span is 0",
    "skip_trigrams.count(torch.arange(5), [1], [2], [3])": "a column of tokens of type list",
    "skip_trigrams.count(tensor([70000]), tensor([1]), tensor([2]), tensor([3]))": "ids from 70000 to 70000",
    "skip_trigrams.lift(tensor([1]), tensor([1]), tensor([5000]), tensor([1]))": "ids from 5000 to 5000",
    "skip_trigrams.lift(tensor([1]), tensor([1]), tensor([5, 6, 7]), tensor([1]))": "tokens of lengths [3, 1]",
    "skip_trigrams.control_sources(tensor([0]), tensor([1]), tensor([2]))": "source 0",
    "skip_trigrams.control_sources(tensor([9999]), tensor([1]), tensor([2]))": "ids from 9999 to 9999",
    "skip_trigrams.listed(headless, torch.arange(5), 3)": "n_layers is 0",
    # bigrams
    "bigrams.uniform(0)(slice(0, 1))": "d_vocab is 0",
    "bigrams.uniform('4')": "d_vocab is '4'",
    "bigrams.unigram(np.ones((2, 2)))": "a ndarray of shape [2, 2]",
    "bigrams.unigram(counts, -1)": "k is -1",
    "bigrams.unigram(counts, float('nan'))": "k is nan",
    "bigrams.add_k(counts, -1)": "k is -1",
    "bigrams.add_k(None)": "a NoneType of shape []",
    "bigrams.add_k(counts[:2])": "a csr_array of shape [2, 5]",
    "bigrams.kneser_ney(np.ones((2, 2)))": "a ndarray of shape [2, 2]",
    "bigrams.kneser_ney(counts, (1,))": "1 discounts",
    "bigrams.kneser_ney(counts, (float('nan'), 1, 1))": "a discount is nan",
    "bigrams.kneser_ney(counts)": "25, 0 and 0 such pairs",
    "bigrams.chen_goodman_discounts(None)": "a NoneType of shape []",
    "bigrams.zero_layer(None)": "model of type NoneType",
    "bigrams.low_rank(torch.ones(2, 3), torch.ones(2, 3))": "factors of shapes [2, 3] and [2, 3]",
    "bigrams.truncated_svd(torch.ones(4, 4), 0)": "rank is 0",
    "bigrams.truncated_svd(torch.ones(4, 4), 9)": "rank is 9",
    "bigrams.truncated_svd(torch.ones(4), 1)": "a matrix of shape [4], torch.float32",
    "bigrams.truncated_svd(tokens, 1)": "a matrix of shape [2, 4], torch.int64",
    "bigrams.truncated_svd(torch.full((4, 4), float('nan')), 1)": "a matrix of shape [4, 4], torch.float32",
    "bigrams.table(bigrams.uniform(5), 0)": "d_vocab is 0",
    "bigrams.table(bigrams.uniform(5), 6)": "a bigram model of 5 tokens",
    "bigrams.table(None, 6)": "log_probs None",
    "bigrams.loss(bigrams.uniform(5), None)": "a NoneType of shape []",
    "bigrams.loss(bigrams.uniform(4), counts)": "a bigram model of 4 tokens",
    "bigrams.loss(7, counts)": "log_probs 7",
    # pictures
    "plots.heatmap([1, 2], ['a'], ['b'], label='x')": "values: values of shape [2]",
    "plots.heatmap([[1, 2]], ['a', 'b'], ['b', 'c'], label='x')": "values: values of shape [1, 2]",
    "plots.heatmap([['u']], ['a'], ['b'], label='x')": "values: values of type list",
    "plots.heatmap(np.zeros((0, 0)), [], [], label='x')": "values: values of shape [0, 0]",
    "plots.tables({}, ['a'], label='x')": "values is {}",
    "plots.tables({'a': [[1]]}, ['a', 'b'], label='x')": "a: values of shape [1, 1]",
    "plots.tables({'a': [[float('nan')]]}, ['a'], label='x')": "tables without a finite number",
    "plots.tables([[1]], ['a'], label='x')": "values is [[1]]",
    "plots.attention({})": "patterns is {}",
    "plots.attention({'a': np.ones((2, 2, 2))})": "a: values of shape [2, 2, 2]",
    "plots.attention({'a': np.ones((2, 2))}, ['x'])": "a: values of shape [2, 2]",
    "plots.attention({'a': np.ones((2, 2))}, columns=0)": "columns is 0",
    "plots.attention({'a': 'x'})": "a: values of type str",
    "plots.attention([[1]])": "patterns is [[1]]",
    "plots.attention({'a': np.ones((2, 2))}, top=-1)": "top is -1",
    "plots.token_table([], {}, label='x')": "groups is {}",
    "plots.token_table(['a'], {'g': ([['x']], [[1, 2]])}, label='x')": "g: values of shape [1, 2]",
    "plots.token_table(['a', 'b'], {'g': ([['x']], [[1]])}, label='x')": "group 'g'",
    "plots.token_table(['a'], {'g': 3}, label='x')": "group 'g'",
    "plots.complex_plane({})": "eigenvalues is {}",
    "plots.complex_plane({'a': []})": "a: values of shape [0]",
    "plots.complex_plane({'a': [1]}, {'b': [1]})": "a baseline without 'a'",
    "plots.complex_plane({'a': [1]}, columns=0)": "columns is 0",
    "plots.complex_plane({'a': ['q']})": "a: values of type list",
    "plots.histogram({}, 5, xlabel='x')": "values is {}",
    "plots.histogram({'a': []}, 5, xlabel='x')": "a: values of shape [0]",
    "plots.histogram({'a': [float('nan')]}, 5, xlabel='x')": "'a' with NaN or infinity",
    "plots.histogram({'a': [1]}, 0, xlabel='x')": "bins is 0",
    "plots.histogram({'a': ['q']}, 5, xlabel='x')": "a: values of type ndarray",
    "plots.architecture(0)": "n_heads is 0",
    "plots.architecture('x')": "n_heads is 'x'",
    "plots.canvas(0, 3)": "width is 0",
    "plots.canvas('a', 3)": "width is 'a'",
    # claims
    "claim('02.x', float('nan'), tolerance=0, says='x')": "02.x is nan",
    "claim('02.x', 1, tolerance=0, says='x')": "02.x",
    "claim('02.x', 'abc', tolerance=0, says='x')": "02.x is 'abc'",
    "claim('02.x', None, tolerance=0, says='x')": "02.x is None",
    "claim('02.loss.zero_layer', 4.2, tolerance=-1, says='x')": "02.loss.zero_layer: tolerance is -1",
    "claim('02.loss.zero_layer', 4.2, tolerance='a', says='x')": "02.loss.zero_layer: tolerance is 'a'",
    "claim(7, 4.2, tolerance=1, says='x')": "key of type int",
    "claim('02.loss.zero_layer', [], tolerance=1, says='x')": "02.loss.zero_layer is []",
    "claim('02.loss.zero_layer', 1j, tolerance=1, says='x')": "02.loss.zero_layer is 1j",
    "claim('02.x', [[1], [1, 2]], tolerance=1, says='x')": "02.x is [[1], [1, 2]]",
    # training
    "training.train('a/b', None, None, tmp)": "the name 'a/b'",
    "training.train('a', None, None, tmp)": "model_cfg of type NoneType",
    "training.train('a', model.cfg, None, tmp)": "cfg of type NoneType",
    "training.train('a', headless.cfg, TrainConfig(1), tmp)": "n_layers is 0",
    "training.train('a', model.cfg, TrainConfig(1), tmp, save_every=0)": "save_every is 0",
    "training.sample_windows(tokens[0], tokens[0, :0], 4, TrainConfig(1), 0)": "the number of starts is 0",
    "skip_trigrams.circuits_of_common_tokens(model, 0, 0)": "vocabulary 17",
    "training.train_on_bigrams(0, 1, counts=counts)": "d_model is 0",
    "training.train_on_bigrams(2, 0, counts=counts)": "steps is 0",
    "training.train_on_bigrams(2, 1, float('nan'), counts=counts)": "rate is nan",
    "training.train_on_bigrams(2, 1, counts=np.ones((2, 2)))": "a ndarray of shape [2, 2]",
    "training.train_on_bigrams(2, 1, counts=counts[:2])": "a csr_array of shape [2, 5]",
    "training.train_on_bigrams(2, 1, counts=counts, holdout=counts[:2, :2])": "a csr_array of shape [2, 2]",
    "formation.snapshot_steps(0)": "steps is 0",
    "formation.snapshot_steps('x')": "steps is 'x'",
    "training.next_token_loss(model, tokens[:, :2])": "the number of positions is 2",
    "training.next_token_loss(model, tokens, 0)": "chunk is 0",
    "training.orthogonalise(torch.ones(3))": "X of type Tensor",
    "training.orthogonalise([1])": "X of type list",
    "training.train_zero_layer(None, tmp)": "cfg of type NoneType",
}


@pytest.fixture(scope="module")
def names(tmp_path_factory) -> dict:
    """What the calls in the table are made of."""
    model = AttentionOnlyTransformer.init(ModelConfig(n_layers=2, n_heads=3, d_model=12, d_head=4, d_vocab=17, n_ctx=9))
    tokens = torch.arange(8).view(2, 4)
    return {
        **{name: getattr(course_utils, name) for name in course_utils.__all__},
        **{module.__name__.split(".")[-1]: module for module in MODULES},
        "TrainConfig": TrainConfig, "FactoredMatrix": FactoredMatrix, "torch": torch, "tensor": torch.tensor, "np": np,
        "model": model, "tokens": tokens, "cache": model.run_with_cache(tokens)[1],
        "headless": AttentionOnlyTransformer.init(ModelConfig(0, 3, 12, 4, 17, 9)),
        "wide": FactoredMatrix(torch.ones(4, 2), torch.ones(2, 3)),
        "square": FactoredMatrix(torch.ones(4, 2), torch.ones(2, 4)),
        "counts": scipy.sparse.csr_array(np.ones((5, 5), dtype=np.int64)),
        "tmp": tmp_path_factory.mktemp("bad"),
    }  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
def test_a_call_with_bad_input_says_what_is_wrong(call, names):
    with pytest.raises(CourseError) as caught:
        eval(call, names)
    error = caught.value
    plt.close("all")
    assert CALLS[call] in error.what, error
    assert len(error.rule) > 5 and len(error.remedy) > 5 and str(error).count("\n") == 0


def test_the_table_has_a_call_for_every_public_function_that_takes_a_value(names):
    """A new function is given its line. Left out: what takes a tensor as any other, and has tests of its own."""
    said = " ".join(CALLS)
    elsewhere = {
        "choose_device", "use_style", "box", "arrow", "virtual_weights", "make_card", "machine", "shipped", "manifest",
        "bigram_counts", "check_counts", "load_results", "ablate", "cut", "check_writable", "write_together", "cached",
        "pair",
    }  # fmt: skip
    public = {
        name
        for module in MODULES
        for name, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", "") == module.__name__ and name[0] != "_"
        and not isinstance(value, type) and not name.startswith("check_")
    }  # fmt: skip
    assert sorted(name for name in public - elsewhere if f"{name}(" not in said) == []


COMMANDS = {
    "train one-layer --steps 0": "steps is 0",
    "train one-layer --batch -4": "batch is -4",
    "train one-layer --seed -1": "seed is -1",
    "train two-layer --lr nan": "lr is nan",
    "train two-layer --lr-adam inf": "lr_adam is inf",
    "train two-layer --weight-decay -1": "weight_decay is -1",
    "train one-layer --text shipped --save-every 0": "save_every is 0",
    "train one-layer --text shipped --out {file}": "{file}",
    "train zero-layer --out {file}/below": "{file}",
    "train one-layer --text full --out {folder}/new": "full training text",
    "workshop --out {file}": "{file}",
    "workshop --out {full}": "{full}",
    "progress": "progress.json",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_with_bad_input_says_so_in_one_line(command, tmp_path, monkeypatch, capsys):
    places = {"file": tmp_path / "file", "folder": tmp_path, "full": tmp_path / "full"}
    places["file"].write_text("a file")
    places["full"].mkdir()
    (places["full"] / "mine.txt").write_text("not to be deleted")
    (tmp_path / "progress.json").write_text("{}")
    monkeypatch.setenv("COURSE_PROGRESS", str(tmp_path / "progress.json"))
    monkeypatch.setattr(corpus, "FULL", tmp_path / "nothing")
    (tmp_path / "_build/html").mkdir(parents=True)
    (tmp_path / "_build/html/index.html").write_text("<!doctype html>")
    if command.startswith("workshop"):
        monkeypatch.setattr(notebooks, "ROOT", tmp_path)
    assert commands.main(command.format(**places).split()) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith("Error: ") and "Remedy:" in said[-1] and not any("Traceback" in line for line in said)
    assert COMMANDS[command].format(**places) in said[-1]
    assert (places["full"] / "mine.txt").exists()


@pytest.mark.parametrize(("device", "word"), [("banana", "banana"), ("cuda:99", "cuda:99"), ("meta", "meta")])
def test_a_bad_device_in_the_environment(device, word, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COURSE_DEVICE", device)
    assert commands.main(["train", "one-layer", "--text", "shipped", "--out", str(tmp_path)]) == 1
    assert word in capsys.readouterr().err
    assert os.listdir(tmp_path) == []


def test_a_chapter_that_is_no_notebook(tmp_path):
    path = tmp_path / "01.ipynb"
    path.write_text("{")
    for what in (lambda: notebooks.normalise([path]), lambda: notebooks.problems(path)):
        with pytest.raises(CourseError, match="01.ipynb"):
            what()
    with pytest.raises(CourseError, match="_toc.yml"):
        notebooks.pages(tmp_path / "nowhere")
    with pytest.raises(CourseError, match="there is no built site"):
        workshop.build(tmp_path / "out", tmp_path / "nowhere")

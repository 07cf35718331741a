"""Every command and subcommand is run for its real work by a test; the table says by which, and lacks none."""

import argparse
import ast
from functools import cache
from pathlib import Path

import pytest

from kinecast.nodes.cli.main import COMMANDS, command_parser

TESTS = Path(__file__).resolve().parents[2]
CALIBRATE, PEOPLE = "nodes/calibrate/test_commands.py", "nodes/calibrate/test_people_commands.py"
RIG, RECORDING = "nodes/cli/test_rig.py", "nodes/recording/test_commands.py"
DATASET, TRAIN = "nodes/dataset/test_dataset.py", "nodes/train/test_lifter_and_noise.py"
PARTS = "nodes/bench/test_parts.py"
PROMOTE, LIVE, GRAPH = "nodes/promote/test_lifter.py", "nodes/calibrate/test_live.py", "process/test_graph.py"
PULL = "engines/models/test_pull.py", "test_the_command_says_what_is_wrong_by_its_status"
# command → file, test; and what stands in the file where it is not the word itself
COVERED: dict[str, tuple[str, ...]] = {
    "demo": ("nodes/demo/test_demo.py", "test_one_person_keeps_one_identity_on_the_real_clip", "run_demo("),
    "run": (GRAPH, "test_run_and_status_and_a_supervisor_that_is_killed"),
    "status": (GRAPH, "test_run_and_status_and_a_supervisor_that_is_killed"),
    "reload": ("process/test_reload.py", "test_a_running_graph_takes_up_another_lifter"),
    "cameras": ("capture/test_plugged_in.py", "test_the_command_says_what_is_there"),
    "models list": PULL,
    "models pull": PULL,
    "models verify": PULL,
    "rig show": (RIG, "test_synth_show_check_convert"),
    "rig check": (RIG, "test_synth_show_check_convert"),
    "rig convert": (RIG, "test_synth_show_check_convert"),
    "rig synth": (RIG, "test_synth_show_check_convert"),
    "calibrate board": ("docs/test_pages.py", "test_a_cheap_command_of_the_pages_runs", '"calibrate board"'),
    "calibrate live": (LIVE, "test_a_folder_gives_the_same_lamps_each_time", "live.run("),
    "calibrate intrinsics": (CALIBRATE, "test_lenses_by_the_command"),
    "calibrate rig": (CALIBRATE, "test_a_rig_from_videos_on_a_floor"),
    "calibrate world": (CALIBRATE, "test_the_world_by_measured_points"),
    "calibrate compare": (CALIBRATE, "test_a_rig_from_videos_on_a_floor"),
    "calibrate people": (PEOPLE, "test_people_from_a_recording_without_extrinsics"),
    "calibrate check": (PEOPLE, "test_check_names_the_camera_and_repairs_the_rig"),
    "calibrate refine": (PEOPLE, "test_refine_writes_only_what_is_better"),
    "info": (RECORDING, "test_info_counts_what_is_there"),
    "replay": ("nodes/reprocess/test_replay.py", "test_it_is_bit_identical_and_again_a_recording"),
    "fit": ("nodes/fusion/test_bodies.py", "test_fit_and_export_of_a_recording"),
    "sync": ("nodes/reprocess/test_sync_clocks.py", "test_sync_prints_the_clocks_and_fuses_again_with_them"),
    "diff": (RECORDING, "test_diff_names_the_first_difference_and_its_size"),
    "smooth": ("nodes/fusion/test_bodies.py", "test_a_smoothed_recording_has_bodies_that_are_smooth_too"),
    "clean": (
        "nodes/reprocess/test_clean.py",
        "test_the_command_tells_its_steps_and_they_can_be_repeated",
    ),
    "compile": ("nodes/cli/test_compile.py", "test_kernels_that_are_there_are_not_compiled_again"),
    "recover": (RECORDING, "test_recover_joins_segments_and_says_what_was_lost"),
    "import": ("nodes/exchange/test_openpose.py", "test_the_import_is_a_recording_like_any_other"),
    "export": ("nodes/exchange/test_export.py", "test_the_command_writes_and_says_where"),
    "render": ("nodes/viewer/test_video.py", "test_bodies_are_drawn_over_the_video_and_in_3d_or_left_out"),
    "evaluate truth": ("nodes/evaluate/test_scores.py", "test_a_perfect_recording_beside_shelf"),
    "evaluate holdout": ("nodes/evaluate/test_camera_holdout.py", "test_gaussian_noise_of_any_size_is_honest"),
    "evaluate views": ("nodes/evaluate/test_view_ablation.py", "test_the_command_prints_and_writes"),
    "evaluate body-views": ("nodes/fusion/test_bodies.py", "test_fewer_views_are_scored_against_all_of_them"),
    "evaluate other": ("nodes/evaluate/test_other_program.py", "test_the_same_points_are_the_same"),
    "evaluate lifter": (TRAIN, "test_a_lifter_is_trained_judged_and_refused_where_it_must_be"),
    "evaluate regressor": ("nodes/train/test_regressor.py", "test_train_and_evaluate"),
    "dataset build": (DATASET, "test_a_recording_that_does_not_fit_is_refused_by_name_and_the_others_are_taken"),
    "dataset list": (DATASET, "test_a_recording_that_does_not_fit_is_refused_by_name_and_the_others_are_taken"),
    "dataset check": (DATASET, "test_a_recording_that_does_not_fit_is_refused_by_name_and_the_others_are_taken"),
    "dataset export": (DATASET, "test_the_command_reports_exports_and_forgets"),
    "dataset report": (DATASET, "test_the_command_reports_exports_and_forgets"),
    "dataset habits": ("nodes/dataset/test_habits.py", "test_habits_are_fitted_from_a_recording"),
    "dataset forget": (DATASET, "test_the_command_reports_exports_and_forgets"),
    "train lifter": (TRAIN, "test_a_lifter_is_trained_judged_and_refused_where_it_must_be"),
    "train retrain": (PROMOTE, "test_a_broken_off_run_ends_as_one_that_was_not"),
    "train promote": (PROMOTE, "test_the_better_one_is_put_in_force_and_rolled_back"),
    "train rollback": (PROMOTE, "test_the_better_one_is_put_in_force_and_rolled_back"),
    "train noise": (TRAIN, "test_noise_is_fitted_from_a_recording"),
    "train prior": ("nodes/train/test_prior.py", "test_the_run_says_what_it_is_of_and_is_taken_up"),
    "train regressor": ("nodes/train/test_regressor.py", "test_train_and_evaluate"),
    "train occlusion": ("nodes/train/test_occlusion.py", "test_the_table_of_a_lifter_is_written"),
    "bench parts": (PARTS, "test_parts_are_measured_and_written"),
    "bench sigma": ("nodes/bench/test_sigma.py", "test_the_command_prints_both"),
    "bench codec": (PARTS, "test_parts_are_measured_and_written"),
    "bench bus": (PARTS, "test_parts_are_measured_and_written"),
    "bench recorder": (PARTS, "test_parts_are_measured_and_written"),
    "bench replay": (PARTS, "test_parts_are_measured_and_written"),
    "bench fusion": (PARTS, "test_parts_are_measured_and_written"),
    "bench prediction": (PARTS, "test_poses_carried_ahead_are_measured"),
    "bench hour": ("nodes/bench/test_hour.py", "test_the_command_prints_a_figure_for_all_that_learns"),
    "bench shape": ("nodes/bench/test_shape.py", "test_shapes_of_people_under_habits_are_printed"),
    "bench crowd": (PARTS, "test_parts_are_measured_and_written"),
    "bench calibrate-people": (PARTS, "test_rigs_from_people_are_compared_with_the_truth"),
    "bench learning-curve": ("nodes/bench/test_learning_curve.py", "test_the_curve_of_one_session"),
    "bench picture": ("nodes/bench/test_picture.py", "test_ways_of_looking_are_compared_on_the_real_clip", '"picture"'),
    "doctor": ("nodes/cli/test_doctor.py", "test_what_is_missing_is_said_with_its_remedy"),
}
# measurements that cannot be made small; what they call is tested where it stands
NOT_RUN = {
    "bench machine": "needs the sample clip, and a minute for each profile",
    "bench start": "starts graphs cold and warm: a minute and more",
    "bench live": "needs the sample clip, four camera processes and a minute",
    "bench body": "takes minutes: 450 frames, six bodies, other solvers",
    "bench lifter": "takes minutes in a process of its own: two sizes, torch and ONNX",
    "bench calibration": "takes minutes: ten rigs of up to sixteen cameras",
}


def leaves(parser: argparse.ArgumentParser, words: str) -> list[str]:
    """Every command line word by word, down to the last subcommand."""
    sub = next((a for a in parser._actions if isinstance(a, argparse._SubParsersAction)), None)
    if sub is None:
        return [words]
    return [leaf for word, below in sub.choices.items() for leaf in leaves(below, f"{words} {word}")]


@cache
def functions(file: Path) -> set[str]:
    return {n.name for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.FunctionDef)}


def test_no_command_is_without_a_test() -> None:
    everything = [leaf for name in COMMANDS for leaf in leaves(command_parser(name), name)]
    assert len(everything) == len(set(everything))
    assert not set(COVERED) & set(NOT_RUN)
    assert sorted([*COVERED, *NOT_RUN]) == sorted(everything)


@pytest.mark.parametrize("command", COVERED)
def test_the_test_is_there_and_runs_it(command: str) -> None:
    file, test, *called = COVERED[command]
    assert test in functions(TESTS / file)
    word = called[0] if called else f'"{command.split()[-1]}"'
    assert word in (TESTS / file).read_text()

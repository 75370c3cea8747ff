"""Alarms, topic, dashboard, saved queries: what is watched, and who is notified."""

import re

import pytest

from bench.bill import count_alarm_metrics, read_metrics
from tests.template.cloudformation import ACCOUNT, REGION, Json, deploy, load, of_type
from tests.template.operations import (
    WatchedMetric,
    alarm_metrics,
    alarms,
    as_list,
    expressions,
    log_queries,
    watched_metrics,
    widgets,
)

TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:on-call"
RECORD_STREAM = f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/contact-records"
EMAIL = "on-call@example.com"

# Source: CloudWatch metrics that Amazon SQS, AWS Lambda, Amazon EventBridge and EventBridge Pipes
# publish (each service's developer guide, "Monitoring").
AWS_METRICS = {
    "AWS/SQS": (
        "QueueName",
        {
            "ApproximateAgeOfOldestMessage",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesVisible",
        },
    ),
    "AWS/Lambda": (
        "FunctionName",
        {"ConcurrentExecutions", "Duration", "Errors", "Invocations", "Throttles"},
    ),
    "AWS/Events": ("RuleName", {"FailedInvocations"}),
    "AWS/EventBridge/Pipes": ("PipeName", {"ExecutionFailed"}),
}
STATISTICS = {"Sum", "Maximum", "Average", "Minimum", "SampleCount"}


@pytest.fixture(scope="module")
def stack() -> dict[str, Json]:
    """Everything that can be watched."""
    return deploy({"ContactRecordStreamArn": RECORD_STREAM, "AlarmEmail": EMAIL})


class TestAlarms:
    def test_they_watch_what_hurts(self, stack: dict[str, Json]) -> None:
        assert alarms(stack).keys() == {
            "failed-jobs",
            "oldest-job",
            "audio-age",
            "incomplete-recordings",
            "rejected-flow-events",
            "flow-errors",
            "flow-throttles",
            "flow-duration",
            "archive-errors",
            "archive-throttles",
            "archive-duration",
            "undelivered-events",
            "pipe-failures",
        }

    def test_one_for_the_pipe_only_where_there_is_a_pipe(self, stack: dict[str, Json]) -> None:
        assert alarms(stack).keys() - alarms(deploy({})).keys() == {"pipe-failures"}

    def test_each_names_its_entry_of_the_runbook(self, stack: dict[str, Json]) -> None:
        for name, alarm in alarms(stack).items():
            assert alarm["AlarmDescription"].endswith(f" See docs/runbook.md#{name}")

    def test_each_is_evaluated_over_whole_periods(self, stack: dict[str, Json]) -> None:
        for alarm in alarms(stack).values():
            periods = {m["MetricStat"]["Period"] for m in alarm.get("Metrics", [])[1:]}
            (period,) = periods or {alarm["Period"]}
            assert period % 60 == 0
            # CloudWatch: an alarm evaluates a day at most.
            assert period * alarm["EvaluationPeriods"] <= 86_400
            assert alarm.get("DatapointsToAlarm", 1) <= alarm["EvaluationPeriods"]
            assert alarm["ComparisonOperator"] == "GreaterThanThreshold"

    def test_metric_math_has_one_result_of_named_metrics(self, stack: dict[str, Json]) -> None:
        for alarm in alarms(stack).values():
            if "Metrics" not in alarm:
                assert alarm["Statistic"] in STATISTICS
                continue
            result, *inputs = alarm["Metrics"]
            assert [m["ReturnData"] for m in inputs] == [False] * len(inputs)
            assert all(re.fullmatch(r"[a-z][A-Za-z0-9_]*", m["Id"]) for m in alarm["Metrics"])
            assert _names(result["Expression"]) == {m["Id"] for m in inputs}
            assert {m["MetricStat"]["Stat"] for m in inputs} <= STATISTICS

    def test_silence_is_well_except_for_a_queue(self, stack: dict[str, Json]) -> None:
        # SQS stops sending metrics of a queue hours after its last activity; what is in it stays.
        for alarm in alarms(stack).values():
            (namespace,) = {metric.namespace for metric in alarm_metrics(alarm)}
            expected = "ignore" if namespace == "AWS/SQS" else "notBreaching"
            assert alarm["TreatMissingData"] == expected

    def test_a_single_failed_job_is_enough(self, stack: dict[str, Json]) -> None:
        alarm = alarms(stack)["failed-jobs"]
        assert [*alarm_metrics(alarm)] == [
            WatchedMetric(
                "AWS/SQS",
                "ApproximateNumberOfMessagesVisible",
                "QueueName",
                "<FailedJobsQueue.QueueName>",
            )
        ]
        assert (alarm["Threshold"], alarm["EvaluationPeriods"], alarm["Period"]) == (0, 1, 60)

    @pytest.mark.parametrize("hours", [1, 24, 96])
    @pytest.mark.parametrize("name", ["oldest-job", "audio-age"])
    def test_half_of_the_retention_is_left(self, name: str, hours: int) -> None:
        alarm = alarms(deploy({"StreamRetentionHours": hours}))[name]
        result, age = alarm["Metrics"]
        assert age["MetricStat"]["Stat"] == "Maximum"
        half_s = hours * 3600 / 2
        assert _calculate(result["Expression"], age=half_s - 1) < alarm["Threshold"]
        assert _calculate(result["Expression"], age=half_s + 1) > alarm["Threshold"]

    def test_the_queue_keeps_a_job_for_the_longest_retention(self, stack: dict[str, Json]) -> None:
        queue = of_type(stack, "AWS::SQS::Queue")["ArchiveQueue"]
        longest_hours = load()["Parameters"]["StreamRetentionHours"]["MaxValue"]
        assert queue["MessageRetentionPeriod"] == longest_hours * 3600

    @pytest.mark.parametrize(
        ("name", "function", "share"),
        [("flow-duration", "FlowFunction", 0.75), ("archive-duration", "ArchiveFunction", 0.8)],
    )
    def test_a_run_near_its_end_is_told(
        self, stack: dict[str, Json], name: str, function: str, share: float
    ) -> None:
        timeout_s = of_type(stack, "AWS::Lambda::Function")[function]["Timeout"]
        assert alarms(stack)[name]["Threshold"] == share * timeout_s * 1000

    @pytest.mark.parametrize("name", ["flow-errors", "archive-errors"])
    def test_errors_are_a_rate_that_lasts(self, stack: dict[str, Json], name: str) -> None:
        alarm = alarms(stack)[name]
        rate = alarm["Metrics"][0]["Expression"]
        assert _calculate(rate, errors=1, invocations=20) == alarm["Threshold"]
        assert (alarm["DatapointsToAlarm"], alarm["EvaluationPeriods"]) == (2, 3)

    def test_one_recording_in_ten_may_be_incomplete(self, stack: dict[str, Json]) -> None:
        alarm = alarms(stack)["incomplete-recordings"]
        share = alarm["Metrics"][0]["Expression"]
        assert _calculate(share, incomplete=1, archived=10) == alarm["Threshold"]


class TestWhoIsTold:
    @pytest.mark.parametrize(
        ("parameters", "told"),
        [
            ({}, []),
            ({"AlarmTopicArn": TOPIC}, [TOPIC]),
            ({"AlarmEmail": EMAIL}, ["<AlarmTopic>"]),
            ({"AlarmTopicArn": TOPIC, "AlarmEmail": EMAIL}, [TOPIC]),
        ],
        ids=["nobody", "topic", "email", "both"],
    )
    def test_of_every_alarm_and_of_its_end(
        self, parameters: dict[str, str | int], told: list[str]
    ) -> None:
        resources = deploy(parameters)
        for alarm in alarms(resources).values():
            assert alarm["AlarmActions"] == told
            assert alarm["OKActions"] == told
        has_own = bool(of_type(resources, "AWS::SNS::Topic"))
        assert has_own == ("<AlarmTopic>" in told)
        assert bool(of_type(resources, "AWS::KMS::Key")) == has_own

    def test_by_e_mail(self, stack: dict[str, Json]) -> None:
        topic = of_type(stack, "AWS::SNS::Topic")["AlarmTopic"]
        assert topic["Subscription"] == [{"Protocol": "email", "Endpoint": EMAIL}]

    @pytest.mark.parametrize("address", ["on-call@example.com", ""])
    def test_an_address_is_an_address(self, address: str) -> None:
        assert re.search(load()["Parameters"]["AlarmEmail"]["AllowedPattern"], address)

    @pytest.mark.parametrize("address", ["on call@example.com", "example.com", "a@b@c"])
    def test_anything_else_is_refused(self, address: str) -> None:
        assert not re.search(load()["Parameters"]["AlarmEmail"]["AllowedPattern"], address)

    def test_the_topic_is_encrypted_with_a_key_that_cloudwatch_may_use(
        self, stack: dict[str, Json]
    ) -> None:
        topic = of_type(stack, "AWS::SNS::Topic")["AlarmTopic"]
        assert topic["KmsMasterKeyId"] == "<AlarmKey>"
        key = of_type(stack, "AWS::KMS::Key")["AlarmKey"]
        assert key["EnableKeyRotation"] is True
        (use,) = [s for s in key["KeyPolicy"]["Statement"] if s["Sid"] == "AlarmsEncrypt"]
        assert use["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
        assert as_list(use["Action"]) == ["kms:GenerateDataKey*", "kms:Decrypt"]
        assert use["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}

    def test_only_our_alarms_publish(self, stack: dict[str, Json]) -> None:
        policy = of_type(stack, "AWS::SNS::TopicPolicy")["AlarmTopicPolicy"]
        allow, deny = policy["PolicyDocument"]["Statement"]
        assert (allow["Effect"], allow["Principal"], allow["Action"]) == (
            "Allow",
            {"Service": "cloudwatch.amazonaws.com"},
            "sns:Publish",
        )
        assert allow["Condition"] == {
            "ArnLike": {
                "aws:SourceArn": f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:call-archive-*"
            },
            "StringEquals": {"aws:SourceAccount": ACCOUNT},
        }
        assert (deny["Effect"], deny["Principal"], deny["Action"]) == ("Deny", "*", "sns:Publish")
        assert deny["Condition"] == {"BoolIfExists": {"aws:PrincipalIsAWSService": "false"}}
        assert {allow["Resource"], deny["Resource"], *policy["Topics"]} == {"<AlarmTopic>"}

    def test_the_policy_matches_the_alarms_names(self, stack: dict[str, Json]) -> None:
        for alarm in of_type(stack, "AWS::CloudWatch::Alarm").values():
            assert alarm["AlarmName"].startswith("call-archive-")


class TestMetrics:
    def test_those_of_aws_exist(self, stack: dict[str, Json]) -> None:
        theirs = {m for m in watched_metrics(stack) if m.namespace != "CallArchive"}
        for metric in theirs:
            dimension, names = AWS_METRICS[metric.namespace]
            assert metric.dimension == dimension
            assert metric.name in names

    def test_their_dimensions_are_our_resources(self, stack: dict[str, Json]) -> None:
        types = {
            "QueueName": "AWS::SQS::Queue",
            "FunctionName": "AWS::Lambda::Function",
            "RuleName": "AWS::Events::Rule",
            "PipeName": "AWS::Pipes::Pipe",
        }
        for metric in watched_metrics(stack):
            if metric.namespace != "CallArchive":
                logical_id = metric.value.strip("<>").removesuffix(".QueueName")
                assert stack[logical_id]["Type"] == types[metric.dimension]

    def test_ours_have_the_stack_as_their_dimension(self, stack: dict[str, Json]) -> None:
        ours = {
            (m.dimension, m.value) for m in watched_metrics(stack) if m.namespace == "CallArchive"
        }
        assert ours == {("service", "call-archive")}
        for function in of_type(stack, "AWS::Lambda::Function").values():
            assert function["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"] == "call-archive"

    def test_the_bill_counts_them(self, stack: dict[str, Json]) -> None:
        ours = {m.name for m in watched_metrics(stack) if m.namespace == "CallArchive"}
        assert read_metrics() == ours
        watched = [metric for alarm in alarms(stack).values() for metric in alarm_metrics(alarm)]
        assert count_alarm_metrics() == len(watched)


class TestDashboard:
    def test_widgets_are_beside_each_other(self, stack: dict[str, Json]) -> None:
        taken: set[tuple[int, int]] = set()
        for widget in widgets(stack):
            cells = {
                (x, y)
                for x in range(widget["x"], widget["x"] + widget["width"])
                for y in range(widget["y"], widget["y"] + widget["height"])
            }
            assert not taken & cells
            assert max(x for x, _ in cells) < 24
            taken |= cells

    def test_it_shows_every_alarm_that_there_always_is(self, stack: dict[str, Json]) -> None:
        (shown,) = [w["properties"]["alarms"] for w in widgets(stack) if w["type"] == "alarm"]
        always = of_type(deploy({}), "AWS::CloudWatch::Alarm")
        assert sorted(shown) == sorted(f"<{logical_id}.Arn>" for logical_id in always)

    def test_it_calls_no_region_but_the_stacks(self, stack: dict[str, Json]) -> None:
        regions = {w["properties"].get("region", REGION) for w in widgets(stack)}
        assert regions == {REGION}

    def test_its_math_names_metrics_of_the_same_widget(self, stack: dict[str, Json]) -> None:
        for widget in widgets(stack):
            rows = widget["properties"].get("metrics", [])
            ids = {row[4]["id"] for row in rows if len(row) == 5 and "id" in row[4]}
            for expression in expressions(widget):
                assert _names(expression) <= ids

    def test_statistics_and_periods_are_cloudwatchs(self, stack: dict[str, Json]) -> None:
        for widget in widgets(stack):
            properties = widget["properties"]
            if widget["type"] != "metric":
                continue
            assert properties["period"] % 60 == 0
            stats = {properties["stat"]}
            stats |= {row[4].get("stat", "Sum") for row in properties["metrics"] if len(row) == 5}
            assert all(s in STATISTICS or re.fullmatch(r"p\d\d?", s) for s in stats)

    def test_gb_seconds_are_of_the_functions_memory(self, stack: dict[str, Json]) -> None:
        functions = of_type(stack, "AWS::Lambda::Function")
        math = {e for w in widgets(stack) for e in expressions(w) if "1024" in e}
        one_gb_second = {
            _calculate(e, flow=1000, archive=1000): e.partition(" ")[0] for e in sorted(math)
        }
        assert one_gb_second == {
            functions["FlowFunction"]["MemorySize"] / 1024: "flow",
            functions["ArchiveFunction"]["MemorySize"] / 1024: "archive",
        }


class TestQueries:
    def test_they_read_our_log_groups(self, stack: dict[str, Json]) -> None:
        groups = {f"<{logical_id}>" for logical_id in of_type(stack, "AWS::Logs::LogGroup")}
        for query in of_type(stack, "AWS::Logs::QueryDefinition").values():
            assert set(query["LogGroupNames"]) <= groups
        for widget in widgets(stack):
            named = set(re.findall(r"SOURCE '([^']+)'", widget["properties"].get("query", "")))
            assert named <= groups

    def test_they_answer_the_questions_of_the_runbook(self, stack: dict[str, Json]) -> None:
        names = {name for name in log_queries(stack) if name.startswith("call-archive/")}
        assert names == {
            f"call-archive/{question}"
            for question in (
                "what happened to a contact",
                "failed jobs by code",
                "jobs that came back by code",
                "slowest archives",
                "incomplete recordings",
                "refused foreign fragments",
                "rejected flow events",
                "longest and largest runs",
            )
        }


def _names(expression: str) -> set[str]:
    return set(re.findall(r"[a-z]\w*", expression))


def _calculate(expression: str, **values: float) -> float:
    """Metric math of numbers, which is Python's for + - * / and brackets."""
    assert re.fullmatch(r"[a-z0-9 ()*/+-]+", expression)
    result: float = eval(expression, {"__builtins__": {}}, values)  # noqa: S307 - the template's own, and arithmetic only
    return result

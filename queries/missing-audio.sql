-- What is missing on each day of a month: fragments that never came, and silence put in for audio
-- that the stream does not have. In stereo each track's gaps count.
-- Parameters: year, month.
SELECT
  day,
  count(*) AS recordings,
  count_if(NOT complete) AS incomplete,
  sum(cardinality(fragments.missing)) AS missing_fragments,
  sum(fragments.untagged) AS untagged_fragments,
  sum(cardinality(gaps)) AS gaps,
  sum(reduce(gaps, BIGINT '0', (total, gap) -> total + gap.lengthMs, total -> total)) / 1e3 AS gap_seconds,
  sum(clockJumps) AS clock_jumps
FROM manifests
WHERE year = ? AND month = ?
GROUP BY day
ORDER BY day

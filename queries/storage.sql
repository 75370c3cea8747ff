-- Bytes of the recordings of each instance and month of a year; manifests and older versions not counted.
-- Parameters: year.
SELECT
  instanceArn,
  month,
  count(*) AS recordings,
  sum(bytes) AS bytes,
  sum(bytes) / 1e9 AS gigabytes
FROM manifests
WHERE year = ?
GROUP BY instanceArn, month
ORDER BY instanceArn, month

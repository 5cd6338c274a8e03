-- wrk: POSTs of BODY_SIZE bytes; the last line is what bench/run reads.
wrk.method = "POST"
wrk.body = string.rep("a", tonumber(os.getenv("BODY_SIZE")))

done = function(summary, latency)
  local e = summary.errors
  io.write(string.format('{"requests":%d,"seconds":%.6f,"p50_us":%d,"p90_us":%d,"p99_us":%d,"mean_us":%d,"errors":%d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(90), latency:percentile(99),
    latency.mean, e.connect + e.read + e.write + e.status + e.timeout))
end

-- For wrk: each request has the next token of the file named by BENCH_TOKENS, the first one that of number
-- BENCH_FIRST_TOKEN; at the end, a line of JSON.
local requests, position = {}, tonumber(os.getenv("BENCH_FIRST_TOKEN"))

function init(_)
  for token in io.lines(os.getenv("BENCH_TOKENS")) do
    -- wrk.path is set only now; with all requests ready, wrk itself costs little.
    requests[#requests + 1] = wrk.format("GET", nil, { ["Authorization"] = "Bearer " .. token })
  end
end

function request()
  position = position % #requests + 1
  return requests[position]
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "microseconds": %d, "failed": %d, "p99_microseconds": %d}\n',
    summary.requests, summary.duration, errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(99)
  ))
end

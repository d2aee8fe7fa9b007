-- The live account of every chunk. One call is one move; each keeps the counters in step.
--
-- Keys, all under "bulkscore:"
--   jobs             zset    job id -> time it was opened (s)
--   active           set     ids of jobs that still need a reconciler
--   job:<id>         hash    output, priority, state, chunks, rows, generation, opened, closed,
--                            halted_by (token of the attempt that stopped the job),
--                            max_rows_error, max_chunks_dead (error budget, absent: no limit),
--                            stopped_by (rows_error | chunks_dead: the budget that ran out; else
--                            the code of the error that halted it), stopped_message (its words),
--                            cursor (chunks below it were handed to the queue once),
--                            queued running retrying succeeded dead cancelled (the histogram),
--                            rows_scored rows_error rows_dead tokens truncated_rows scoring_seconds
--   states:<id>      string  one letter a chunk: q r t s d c ('t' is retrying)
--   enqueued:<id>    zset    chunk -> time (ms) its message was put on the queue
--   due:<id>         zset    chunk -> time (ms) from which it may be queued again
--   leases:<id>      zset    chunk -> time (ms) the lease ends
--   owners:<id>      hash    chunk -> "<token> <worker>" of the lease's holder
--   attempts:<id>    hash    chunk -> attempts begun in this generation; gone once it succeeds
--   history:<id>     hash    chunk -> JSON list of failed attempts; gone once it succeeds
--   trails:<id>      hash    chunk -> JSON of `schemas.trail.Trail`: where a chunk that kills its
--                            process was each time; gone once it succeeds
--   log:<id>         zset    JSON of `schemas.attempt_log.AttemptEvent` -> time (ms); the last
--                            LOG_EVENTS of them
--   codes:<id>       hash    "row:<code>" | "chunk:<code>" -> count
--   buried:<id>      hash    chunk -> "<rows> <code>" of a dead chunk: what to take off the counters
--                            when it lives again
--
-- A chunk that is queued or retrying is at or above the cursor, or in `enqueued`, or in `due`.
-- Keys of a closed job live on for KEEP_SECONDS. All times are the server's own.
--
-- KEYS[1] = "bulkscore:", ARGV[1] = move, ARGV[2] = job id, ARGV[3…] = arguments of the move.

local KEEP_SECONDS = 30 * 24 * 3600
local SCAN = 4096 -- letters looked at in one step
local LOG_EVENTS = 4000 -- some 2 MB for a job

local prefix, move_name, job = KEYS[1], ARGV[1], ARGV[2]
local function key(kind) return prefix .. kind .. ':' .. job end
local JOB, STATES, ENQUEUED, DUE = key('job'), key('states'), key('enqueued'), key('due')
local LEASES, OWNERS, ATTEMPTS = key('leases'), key('owners'), key('attempts')
local HISTORY, TRAILS, CODES, BURIED = key('history'), key('trails'), key('codes'), key('buried')
local LOG = key('log')
local JOB_KEYS = {JOB, STATES, ENQUEUED, DUE, LEASES, OWNERS, ATTEMPTS, HISTORY, TRAILS, CODES, BURIED, LOG}

local NAMES = {q = 'queued', r = 'running', t = 'retrying', s = 'succeeded', d = 'dead', c = 'cancelled'}
local LEGAL = {q = 'rsdc', r = 'qtsdc', t = 'rsdc', s = '', d = 'qs', c = 'qs'}

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function field(name) return redis.call('HGET', JOB, name) end
local function state_of(chunk) return redis.call('GETRANGE', STATES, chunk, chunk) end

local function unbury(chunk)
  local found = redis.call('HGET', BURIED, chunk)
  if not found then return end
  local rows, code = string.match(found, '^(%d+) (.*)$')
  redis.call('HDEL', BURIED, chunk)
  redis.call('HINCRBY', JOB, 'rows_dead', 0 - rows) -- not -rows: older servers refuse "-0"
  redis.call('HINCRBY', CODES, 'chunk:' .. code, -1)
end

local function bury(chunk, rows, code)
  redis.call('HSET', BURIED, chunk, rows .. ' ' .. code)
  redis.call('HINCRBY', JOB, 'rows_dead', rows)
  redis.call('HINCRBY', CODES, 'chunk:' .. code, 1)
end

local function shift(chunk, to)
  local from = state_of(chunk)
  if from == '' then return redis.error_reply('NOCHUNK ' .. chunk) end
  if not string.find(LEGAL[from], to, 1, true) then
    return redis.error_reply('ILLEGAL ' .. NAMES[from] .. ' -> ' .. NAMES[to])
  end
  redis.call('SETRANGE', STATES, chunk, to)
  redis.call('HINCRBY', JOB, NAMES[from], -1)
  redis.call('HINCRBY', JOB, NAMES[to], 1)
  if from == 'd' then unbury(chunk) end
  return false
end

local function free(chunk)
  redis.call('ZREM', LEASES, chunk)
  redis.call('HDEL', OWNERS, chunk)
end

local function unqueue(chunk)
  redis.call('ZREM', ENQUEUED, chunk)
  redis.call('ZREM', DUE, chunk)
end

local function forget(chunk)
  free(chunk)
  unqueue(chunk)
  redis.call('HDEL', ATTEMPTS, chunk)
  redis.call('HDEL', HISTORY, chunk)
  redis.call('HDEL', TRAILS, chunk)
end

local function owner(chunk)
  local found = redis.call('HGET', OWNERS, chunk)
  if not found then return '', '' end
  local token, worker = string.match(found, '^(%S+) (.*)$')
  return token, worker
end

-- An attempt whose process has died, or that does not renew its lease.
local function log_lost(chunk)
  local token, worker = owner(chunk)
  local event = {event = 'lost', chunk = tonumber(chunk), token = token, worker = worker,
    attempt = tonumber(redis.call('HGET', ATTEMPTS, chunk)), generation = tonumber(field('generation'))}
  redis.call('ZADD', LOG, now, cjson.encode(event))
end

local function is_cancelled() return field('state') == 'cancelled' end

-- Give a running chunk back: to the queue from `due` on, or to the heap of a cancelled job.
local function put_back(chunk, to, due)
  local cancelled = is_cancelled()
  local problem = shift(chunk, cancelled and 'c' or to)
  if problem then return problem end
  if cancelled then
    forget(chunk)
  else
    free(chunk)
    redis.call('ZADD', DUE, due, chunk)
  end
  return false
end

-- A job over its error budget is stopped: its chunks keep their states, `reopen` lets it go on.
local function check_budget()
  if field('state') ~= 'running' then return end
  for _, pair in ipairs({{'rows_error', 'rows_error'}, {'chunks_dead', 'dead'}}) do
    local name, counter = pair[1], pair[2]
    local limit = field('max_' .. name)
    if limit and tonumber(field(counter) or 0) > tonumber(limit) then
      redis.call('HSET', JOB, 'state', 'failed', 'stopped_by', name)
      return
    end
  end
end

local function set_budget(limits)
  for name, limit in pairs(limits) do redis.call('HSET', JOB, name, limit) end
  check_budget()
end

local moves = {}

-- open: output, priority, chunks, rows, generation, states ('' = all queued), counters as JSON,
-- dead chunks as JSON: chunk -> [rows, code], error budget as JSON: max_rows_error, max_chunks_dead
function moves.open(output, priority, chunks, rows, generation, states, counters, dead, budget)
  if redis.call('EXISTS', JOB) == 1 then return 0 end
  chunks = tonumber(chunks)
  if states == '' then states = string.rep('q', chunks) end
  redis.call('SET', STATES, states)
  redis.call('HSET', JOB, 'output', output, 'priority', priority, 'state', 'running', 'chunks', chunks,
    'rows', rows, 'generation', generation, 'opened', clock[1], 'cursor', 0)
  for letter, name in pairs(NAMES) do
    local _, count = string.gsub(states, letter, letter)
    redis.call('HSET', JOB, name, count)
  end
  for name, value in pairs(cjson.decode(counters)) do
    if string.find(name, ':', 1, true) then redis.call('HSET', CODES, name, value)
    else redis.call('HSET', JOB, name, value) end
  end
  for chunk, place in pairs(cjson.decode(dead)) do bury(chunk, place[1], place[2]) end
  set_budget(cjson.decode(budget))
  redis.call('ZADD', prefix .. 'jobs', clock[1], job)
  redis.call('SADD', prefix .. 'active', job)
  return 1
end

-- claim: window, grace (ms), missing -> chunks whose messages are to be sent now
function moves.claim(window, grace, missing)
  window, grace, missing = tonumber(window), tonumber(grace), tonumber(missing)
  if field('state') ~= 'running' then return {} end
  local claimed = {}
  local function claim(chunk)
    claimed[#claimed + 1] = tonumber(chunk)
    redis.call('ZADD', ENQUEUED, now, chunk)
  end

  if missing > 0 then
    local stale = redis.call('ZRANGEBYSCORE', ENQUEUED, '-inf', now - grace, 'LIMIT', 0, missing)
    for _, chunk in ipairs(stale) do claim(chunk) end
  end

  local room = window - redis.call('ZCARD', ENQUEUED)
  if room <= 0 then return claimed end
  local due = redis.call('ZRANGEBYSCORE', DUE, '-inf', now, 'LIMIT', 0, room)
  for _, chunk in ipairs(due) do
    redis.call('ZREM', DUE, chunk)
    claim(chunk)
  end
  room = room - #due

  -- Chunks that back off are held in `due`: past ten windows of them nothing fresh is added, so
  -- that an outage costs a bounded amount of memory.
  if redis.call('ZCARD', DUE) > 10 * window then return claimed end
  local cursor, chunks = tonumber(field('cursor')), tonumber(field('chunks'))
  while room > 0 and cursor < chunks do
    local slice = redis.call('GETRANGE', STATES, cursor, cursor + SCAN - 1)
    if slice == '' then return redis.error_reply('SHORT states end before chunk ' .. cursor) end
    local at = 0
    repeat
      at = string.find(slice, 'q', at + 1, true)
      local chunk = at and cursor + at - 1
      if at and not redis.call('ZSCORE', ENQUEUED, chunk) and not redis.call('ZSCORE', DUE, chunk) then
        claim(chunk)
        room = room - 1
      end
    until not at or room == 0
    cursor = cursor + (at or #slice)
  end
  redis.call('HSET', JOB, 'cursor', cursor)
  return claimed
end

-- begin: chunk, token, worker, lease (ms), max attempts -> {outcome, attempt, generation, trail}
function moves.begin(chunk, token, worker, lease, max_attempts)
  local generation = tonumber(field('generation'))
  local state = state_of(chunk)
  if state == '' then return redis.error_reply('NOCHUNK ' .. chunk) end
  if state == 's' or state == 'd' or state == 'c' then return {NAMES[state], 0, generation, ''} end
  if field('state') ~= 'running' then return {is_cancelled() and 'cancelled' or 'halted', 0, generation, ''} end
  local function begun(attempt)
    local outcome = attempt > tonumber(max_attempts) and 'poison' or 'begun'
    return {outcome, attempt, generation, redis.call('HGET', TRAILS, chunk) or ''}
  end
  local holder, holder_worker = owner(chunk)
  if holder == token then return begun(tonumber(redis.call('HGET', ATTEMPTS, chunk))) end
  -- A message that arrives twice must not cut a back-off short.
  if state == 't' and tonumber(redis.call('ZSCORE', DUE, chunk) or 0) > now then
    return {'busy', 0, generation, ''}
  end
  local ends = redis.call('ZSCORE', LEASES, chunk)
  -- A worker runs one chunk at a time: a lease of its own is that of a child that died.
  if ends and tonumber(ends) > now and holder_worker ~= worker then return {'busy', 0, generation, ''} end
  if state ~= 'r' then
    local problem = shift(chunk, 'r')
    if problem then return problem end
  end
  if holder ~= '' then log_lost(chunk) end
  unqueue(chunk)
  redis.call('ZADD', LEASES, now + lease, chunk)
  redis.call('HSET', OWNERS, chunk, token .. ' ' .. worker)
  local attempt = redis.call('HINCRBY', ATTEMPTS, chunk, 1)
  redis.call('ZADD', LOG, now, cjson.encode({event = 'begun', chunk = tonumber(chunk), token = token,
    worker = worker, attempt = attempt, generation = generation}))
  redis.call('ZREMRANGEBYRANK', LOG, 0, -LOG_EVENTS - 1)
  return begun(attempt)
end

-- log: event as JSON, which says how an attempt ended
function moves.log(event)
  redis.call('ZADD', LOG, now, event)
  return 1
end

-- note: chunk, token, trail -> 1, or 0 when the lease is lost. Kept when the process dies.
function moves.note(chunk, token, trail)
  if owner(chunk) ~= token then return 0 end
  redis.call('HSET', TRAILS, chunk, trail)
  return 1
end

-- heartbeat: chunk, token, lease (ms) -> 'held' | 'lost' | 'cancelled'
function moves.heartbeat(chunk, token, lease)
  if owner(chunk) ~= token then return 'lost' end
  if is_cancelled() then return 'cancelled' end
  redis.call('ZADD', LEASES, 'XX', now + lease, chunk)
  return 'held'
end

-- finish: chunk, account as JSON -> 1 when this call counted it, 0 when it was counted before.
-- Needs no lease: it states that the result object exists, and carries that object's account.
-- A job that had ended becomes active again, so that its summary is written anew.
function moves.finish(chunk, account)
  if state_of(chunk) == 's' then return 0 end
  local problem = shift(chunk, 's')
  if problem then return problem end
  forget(chunk)
  local counts = cjson.decode(account)
  for name, value in pairs(counts.numbers) do redis.call('HINCRBY', JOB, name, value) end
  redis.call('HINCRBYFLOAT', JOB, 'scoring_seconds', counts.seconds)
  for code, count in pairs(counts.errors) do redis.call('HINCRBY', CODES, 'row:' .. code, count) end
  check_budget()
  if field('closed') then redis.call('SADD', prefix .. 'active', job) end
  return 1
end

-- retry: chunk, token, delay (ms), attempt record as JSON -> 1, or 0 when the lease is lost
function moves.retry(chunk, token, delay, record)
  if owner(chunk) ~= token then return 0 end
  local problem = put_back(chunk, 't', now + delay)
  if problem then return problem end
  if is_cancelled() then return 1 end
  local history = redis.call('HGET', HISTORY, chunk)
  redis.call('HSET', HISTORY, chunk, history and (string.sub(history, 1, -2) .. ',' .. record .. ']')
    or ('[' .. record .. ']'))
  return 1
end

-- bury: chunk, token ('' = the dead letter was found in storage), code, rows -> 1 | 0 as above.
-- A result or a cancellation that came first stands.
function moves.bury(chunk, token, code, rows)
  local state = state_of(chunk)
  if state == 'd' or state == 's' or state == 'c' then return 0 end
  if token ~= '' and owner(chunk) ~= token then return 0 end
  local problem = shift(chunk, 'd')
  if problem then return problem end
  forget(chunk)
  bury(chunk, rows, code)
  check_budget()
  return 1
end

-- halt: chunk, token, code, message -> 1 when this attempt stopped the job because of an error that
-- every chunk would meet, 0 when it was stopped before. Its chunks keep their states; `reopen` lets
-- it go on.
function moves.halt(chunk, token, code, message)
  if field('halted_by') == token then return 1 end
  if owner(chunk) ~= token or field('state') ~= 'running' then return 0 end
  redis.call('HSET', JOB, 'state', 'failed', 'halted_by', token, 'stopped_by', code, 'stopped_message', message)
  return 1
end

-- hand_back: chunk, token, delay (ms) -> 1 | 0; the attempt is not charged
function moves.hand_back(chunk, token, delay)
  if owner(chunk) ~= token then return 0 end
  local attempts = tonumber(redis.call('HGET', ATTEMPTS, chunk)) - 1
  local problem = put_back(chunk, 'q', now + delay)
  if problem then return problem end
  if attempts == 0 then redis.call('HDEL', ATTEMPTS, chunk)
  elseif not is_cancelled() then redis.call('HSET', ATTEMPTS, chunk, attempts) end
  return 1
end

-- disown: worker -> chunks of which it held the lease, free again: its process died and the one in
-- its place knows nothing of them. Their attempt stays charged.
function moves.disown(worker)
  local held, freed = redis.call('HGETALL', OWNERS), {}
  for i = 1, #held, 2 do
    local _, holder = string.match(held[i + 1], '^(%S+) (.*)$')
    if holder == worker then
      log_lost(held[i])
      local problem = put_back(held[i], 'q', now)
      if problem then return problem end
      freed[#freed + 1] = tonumber(held[i])
    end
  end
  return freed
end

-- sweep -> chunks whose lease has run out and that are free again; their attempt stays charged
function moves.sweep()
  local expired = redis.call('ZRANGEBYSCORE', LEASES, '-inf', now)
  for _, chunk in ipairs(expired) do
    log_lost(chunk)
    local problem = put_back(chunk, 'q', now)
    if problem then return problem end
  end
  return expired
end

-- reopen: generation, chunks as JSON, error budget as in `open` ({} leaves it) -> how many dead or cancelled chunks are queued again.
-- Messages of a job that was stopped were taken and thrown away: what was enqueued is due at once.
function moves.reopen(generation, chunks, budget)
  if field('state') ~= 'running' then
    for _, chunk in ipairs(redis.call('ZRANGE', ENQUEUED, 0, -1)) do redis.call('ZADD', DUE, now, chunk) end
    redis.call('DEL', ENQUEUED)
  end
  local count, lowest = 0, tonumber(field('cursor'))
  for _, chunk in ipairs(cjson.decode(chunks)) do
    local state = state_of(chunk)
    if state == 'd' or state == 'c' then
      local problem = shift(chunk, 'q')
      if problem then return problem end
      forget(chunk)
      lowest = math.min(lowest, chunk)
      count = count + 1
    end
  end
  redis.call('HSET', JOB, 'cursor', lowest, 'state', 'running')
  if tonumber(generation) > tonumber(field('generation')) then
    redis.call('HSET', JOB, 'generation', generation)
  end
  redis.call('HDEL', JOB, 'closed', 'halted_by', 'stopped_by', 'stopped_message')
  set_budget(cjson.decode(budget))
  for _, name in ipairs(JOB_KEYS) do redis.call('PERSIST', name) end
  redis.call('SADD', prefix .. 'active', job)
  return count
end

-- cancel -> how many chunks will not be scored; those that run end by themselves. A job that has
-- ended stays as it is.
function moves.cancel()
  if field('closed') then return 0 end
  local states, waiting = redis.call('GET', STATES), 0
  for _, letter in ipairs({'q', 't'}) do
    local changed, count = string.gsub(states, letter, 'c')
    states, waiting = changed, waiting + count
    redis.call('HSET', JOB, NAMES[letter], 0)
  end
  redis.call('SET', STATES, states)
  redis.call('HINCRBY', JOB, 'cancelled', waiting)
  redis.call('HSET', JOB, 'state', 'cancelled')
  redis.call('DEL', ENQUEUED, DUE)
  return waiting
end

-- close: state, succeeded (chunks that the summary knows of), code and message of what kept the
-- summary from being written ('' when it is) -> 1: the job has ended; 0: it was opened again
-- meanwhile, or a late result makes it necessary to look again
function moves.close(state, succeeded, code, message)
  if tonumber(field('succeeded')) ~= tonumber(succeeded) then
    redis.call('SADD', prefix .. 'active', job)
    return 0
  end
  local waiting = field('queued') + field('retrying')
  if tonumber(field('running')) > 0 or (field('state') == 'running' and waiting > 0) then return 0 end
  redis.call('HSET', JOB, 'state', state, 'closed', clock[1])
  if state ~= 'failed' then redis.call('HDEL', JOB, 'stopped_by', 'stopped_message')
  elseif code ~= '' and not field('stopped_by') then
    redis.call('HSET', JOB, 'stopped_by', code, 'stopped_message', message)
  end
  redis.call('SREM', prefix .. 'active', job)
  for _, name in ipairs(JOB_KEYS) do redis.call('EXPIRE', name, KEEP_SECONDS) end
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', prefix .. 'jobs', '-inf', clock[1] - KEEP_SECONDS)) do
    if redis.call('EXISTS', prefix .. 'job:' .. old) == 0 then redis.call('ZREM', prefix .. 'jobs', old) end
  end
  return 1
end

if move_name ~= 'open' and redis.call('EXISTS', JOB) == 0 then
  return redis.error_reply('NOJOB ' .. job)
end
if not moves[move_name] then return redis.error_reply('NOMOVE ' .. move_name) end
return moves[move_name](unpack(ARGV, 3))

-- The ledger of `ledger.py` in a store: the same books and the same answers, for one exchange, as one step that nothing comes between.
-- `valkey_bank` sends it, and tests/unit/serving/desk/test_ledger.py asks both the same questions.
--
-- KEYS: when the store began to know anything; the replicas by when they spoke last; then one account for each tenant.
-- ARGV: what the replica says, as MessagePack. Answers in MessagePack, tenants in the order of their keys.

local WINDOW, BUCKET = 60, 0.5
local KEEP_SECONDS = 40 * 86400
local said = cmsgpack.unpack(ARGV[1])
local now = said.now
if now == nil then
  local time = redis.call('TIME')
  now = tonumber(time[1]) + tonumber(time[2]) / 1e6
end
local day, month = said.day, said.month

-- A window: pairs of a bucket's number and what was taken in it, oldest first.

local function ends(bucket) return (bucket[1] + 1) * BUCKET + WINDOW end

local function used(window)
  while window[1] and ends(window[1]) <= now do table.remove(window, 1) end
  local sum = 0
  for _, bucket in ipairs(window) do sum = sum + bucket[2] end
  return sum
end

local function charge(window, amount)
  used(window)
  local number, last = math.floor(now / BUCKET), window[#window]
  if last and last[1] >= number then
    last[2] = last[2] + amount
    return last[1]
  end
  table.insert(window, {number, amount})
  return number
end

local function give_back(window, number, amount)
  for place = #window, 1, -1 do
    local bucket = window[place]
    if bucket[1] == number then bucket[2] = bucket[2] - math.min(amount, bucket[2]) end
    if bucket[1] <= number then return end
  end
end

local function remaining(window, limit) return math.max(0, limit - used(window)) end

-- -1 stands for never.
local function seconds_until(window, limit, amount)
  if amount > limit then return -1 end
  local missing = amount - (limit - used(window))
  for _, bucket in ipairs(window) do
    if missing <= 0 then break end
    missing = missing - bucket[2]
    if missing <= 0 then return math.max(0, ends(bucket) - now) end
  end
  return 0
end

-- An account: r and t are the windows of requests and tokens, books what each replica holds and has spent.

local function blank() return {r = {}, t = {}, books = {}} end

local function sum_of(account, part, name)
  local sum = 0
  for _, book in pairs(account.books) do sum = sum + (book[part][name] or 0) end
  return sum
end

local function spent(account, period) return sum_of(account, 'spent', period) + sum_of(account, 'lost', period) end

local function is_empty(book)
  local kept = 0
  for _, period in ipairs({day, month}) do kept = kept + (book.spent[period] or 0) + (book.lost[period] or 0) end
  return kept == 0 and book.held.tokens == 0 and book.held.slots == 0
end

local function bury(account, replica, limits)
  local book = account.books[replica]
  if not book then return end
  if book.held.tokens > 0 and (limits.day or limits.month) then
    book.lost = {[day] = book.held.tokens, [month] = book.held.tokens}
  end
  book.held = {tokens = 0, slots = 0}
  if is_empty(book) then account.books[replica] = nil end
end

local function bury_silent(account, limits)
  local gone = {}
  for replica, book in pairs(account.books) do
    if now - book.at > said.silent then table.insert(gone, replica) end
  end
  for _, replica in ipairs(gone) do bury(account, replica, limits) end
end

local function take(account, statement)
  local book = {held = statement.held, spent = {}, lost = {}, at = now}
  for _, period in ipairs({day, month}) do book.spent[period] = statement.spent[period] end
  account.books[said.replica] = book
  local limits = statement.limits
  -- A replica without a limit takes nothing out of a window: others may have the limit, or have it already.
  for _, lease in ipairs(statement.returned) do
    give_back(account.r, lease[3], lease[1])
    give_back(account.t, lease[4], lease[2])
  end
  if limits.requests and statement.beyond[1] > 0 then charge(account.r, statement.beyond[1]) end
  if limits.tokens and statement.beyond[2] > 0 then charge(account.t, statement.beyond[2]) end
end

local function counts_tokens(limits) return limits.tokens or limits.day or limits.month end

local function held_tokens(account, limits)
  return counts_tokens(limits) and sum_of(account, 'held', 'tokens') or 0
end

local function free_slots(account, limits) return limits.slots - sum_of(account, 'held', 'slots') end

local function budget_left(account, limits)
  local left
  for _, budget in ipairs({{'day', day}, {'month', month}}) do
    local limit = limits[budget[1]]
    if limit then
      local of = limit - spent(account, budget[2]) - held_tokens(account, limits)
      left = left and math.min(left, of) or of
    end
  end
  return left and math.max(0, left)
end

-- Which limit, after how many seconds, and whether the period of a budget has to end first.
local function shortage(account, limits, need)
  if limits.requests and need[1] > remaining(account.r, limits.requests) then
    return {'requests', seconds_until(account.r, limits.requests, need[1]), false}
  end
  if limits.tokens and need[2] > remaining(account.t, limits.tokens) then
    return {'tokens', seconds_until(account.t, limits.tokens, need[2]), false}
  end
  if limits.slots and need[3] > free_slots(account, limits) then return {'concurrent', said.held, false} end
  if need[2] == 0 then return nil end
  for _, budget in ipairs({{'day', day, said.day_seconds}, {'month', month, said.month_seconds}}) do
    local limit = limits[budget[1]]
    if limit then
      if now < said.learns_until then return {'ledger', said.learns_until - now, false} end
      local left = limit - spent(account, budget[2])
      if need[2] > left then return {budget[1], budget[3], true} end
      if need[2] > left - held_tokens(account, limits) then return {budget[1], said.held, false} end
    end
  end
  return nil
end

local function booked(account, limits, need)
  local short = shortage(account, limits, need)
  if short then return {false, short} end
  local requests = limits.requests and charge(account.r, need[1]) or 0
  local tokens = limits.tokens and charge(account.t, need[2]) or 0
  local held = account.books[said.replica].held
  held.tokens, held.slots = held.tokens + need[2], held.slots + need[3]
  return {true, {need[1], need[2], need[3], requests, tokens}}
end

local function slice(account, limits, wish, replicas)
  local requests, tokens, slots = wish[1], wish[2], wish[3]
  local share = said.near * math.max(1, replicas)
  if limits.requests then
    local least = math.floor(remaining(account.r, limits.requests) / share)
    requests = math.min(requests, math.floor(limits.requests / said.slice), least)
  end
  if limits.tokens then
    local least = math.floor(remaining(account.t, limits.tokens) / share)
    tokens = math.min(tokens, math.floor(limits.tokens / said.slice), least)
  end
  local left = budget_left(account, limits)
  if left then tokens = math.min(tokens, math.floor(left / share)) end
  if limits.slots then
    local least = math.floor(free_slots(account, limits) / share)
    slots = math.min(slots, math.floor(limits.slots / said.slice), least)
  end
  return {math.max(0, requests), math.max(0, tokens), math.max(0, slots)}
end

local function meter(window, limit)
  if not limit then return false end
  return {limit, remaining(window, limit), seconds_until(window, limit, limit)}
end

local function is_idle(account)
  if used(account.r) > 0 or used(account.t) > 0 then return false end
  for _, book in pairs(account.books) do
    if not is_empty(book) then return false end
  end
  return true
end

local function reply(account, statement, replicas)
  local limits, needs = statement.limits, {}
  for _, need in ipairs(statement.needs) do table.insert(needs, booked(account, limits, need)) end
  local ahead = slice(account, limits, statement.ahead, replicas)
  local lease = ahead[1] + ahead[2] + ahead[3] > 0 and booked(account, limits, ahead)
  local left = budget_left(account, limits)
  return {
    needs,
    lease and lease[1] and lease[2] or false,
    {meter(account.r, limits.requests), meter(account.t, limits.tokens), left or false},
  }
end

redis.call('SET', KEYS[1], now, 'NX', 'EX', KEEP_SECONDS)
redis.call('EXPIRE', KEYS[1], KEEP_SECONDS)
said.learns_until = tonumber(redis.call('GET', KEYS[1])) + said.learning
if said.leaves then
  redis.call('ZREM', KEYS[2], said.replica)
else
  redis.call('ZADD', KEYS[2], now, said.replica)
end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', '(' .. (now - said.silent))
redis.call('EXPIRE', KEYS[2], KEEP_SECONDS)
local replicas, answers = redis.call('ZCARD', KEYS[2]), {}
for place, statement in ipairs(said.statements) do
  local key = KEYS[place + 2]
  local kept = redis.call('GET', key)
  local account = kept and cmsgpack.unpack(kept) or blank()
  bury_silent(account, statement.limits)
  if said.leaves then
    bury(account, said.replica, statement.limits)
    table.insert(answers, false)
  else
    take(account, statement)
    table.insert(answers, reply(account, statement, replicas))
  end
  if is_idle(account) then
    redis.call('DEL', key)
  else
    redis.call('SET', key, cmsgpack.pack(account), 'EX', KEEP_SECONDS)
  end
end
return cmsgpack.pack({replicas, answers})

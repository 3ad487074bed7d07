-- Chooses the replica of a request. HAProxy runs it for each request that makes an answer; `amend.py` puts in front of it what
-- differs: BY_PREFIX, REPLICAS, CONNECTIONS, KEYS_FOLDER. It decides nothing but the place: the door in the replica judges the key.
-- A request for which it chooses nothing, or fails, goes to the replica with the fewest connections.

local FREE = 8             -- requests that a replica may always have: an engine computes some at once for the price of one
local SHARE = 1.25         -- beyond them, how much more than the mean of all replicas
local BLOCK = 256          -- bytes of text that are compared at once, about four blocks of an engine's cache
local MOST_BLOCKS = 256    -- of one request: its first 64 KiB
local MOST_KEPT = 50000    -- blocks that are remembered, twice
local MOST_KEYS = 10000
local KEY_SECONDS = 60
local LONGEST_ID = 512

local KEY = "llm_(" .. ("[a-z2-7]"):rep(16) .. ")_"

local tenants, tenants_known, tenants_since = {}, 0, 0

-- Whose key it is. It is told by the id alone, so a client could pretend another: it would choose a place, and get 401 there.
local function tenant_of(id)
    local now = core.now().sec
    if now - tenants_since > KEY_SECONDS or tenants_known > MOST_KEYS then
        tenants, tenants_known, tenants_since = {}, 0, now
    end
    if tenants[id] == nil then
        local file = io.open(KEYS_FOLDER .. "/" .. id)
        local text = file and file:read(8192) or ""
        if file then
            file:close()
        end
        tenants[id] = text:match('"tenant"%s*:%s*"([^"]+)"') or id
        tenants_known = tenants_known + 1
    end
    return tenants[id]
end

local function first(headers, name)
    local values = headers[name]
    return values and values[0]
end

local function owner_of(headers)
    if KEYS_FOLDER == nil then
        return ""
    end
    local shown = first(headers, "authorization")
    local id = shown and shown:match("^[Bb][Ee][Aa][Rr][Ee][Rr] +" .. KEY)
    shown = first(headers, "x-api-key")
    id = id or (shown and shown:match("^" .. KEY))
    return id and tenant_of(id) or ""
end

-- Replicas that may take one more request. The configuration has put the connections of those that are up into variables: HAProxy
-- destroys the name of a server with which a script asks for them.
local function open_replicas(txn)
    local connections, total, alive = {}, 0, 0
    for number, replica in ipairs(REPLICAS) do
        local now = txn:get_var(CONNECTIONS .. number)
        if now then
            connections[replica] = now
            total = total + now
            alive = alive + 1
        end
    end
    local most = math.max(FREE, math.ceil(SHARE * (total + 1) / math.max(alive, 1)))
    local open = {}
    for _, replica in ipairs(REPLICAS) do
        if connections[replica] and connections[replica] < most then
            open[#open + 1] = replica
        end
    end
    return open, connections
end

-- The one of `replicas` that `key` belongs to. Each pair has its own rank, so a replica that comes or goes moves only what is its own.
local function home_of(txn, key, replicas)
    local home, highest
    for _, replica in ipairs(replicas) do
        local rank = txn.c:xxh64(key .. "\n" .. replica)
        if home == nil or rank > highest then
            home, highest = replica, rank
        end
    end
    return home
end

local function text_at(txn, body, path)
    local found = txn.c:json_query(body, path)
    return type(found) == "string" and found ~= "" and found or nil
end

local function conversation_of(txn, headers, body)
    local id = first(headers, "x-session-id") or text_at(txn, body, "$.prompt_cache_key")
        or text_at(txn, body, "$.metadata.user_id") or text_at(txn, body, "$.user")
    return id and id ~= "" and id:sub(1, LONGEST_ID) or nil
end

local function by_conversation(txn, headers, body)
    local id = conversation_of(txn, headers, body)
    return id and home_of(txn, owner_of(headers) .. "\n" .. id, (open_replicas(txn)))
end

-- Which replicas have answered a block and all before it. Two tables: when the young one is full it becomes the old one, so what
-- nobody asked for since is forgotten.
local young, old, kept = {}, {}, 0

local function remember(block, replica)
    local replicas = young[block]
    if replicas == nil then
        if kept >= MOST_KEPT then
            old, young, kept = young, {}, 0
        end
        replicas = old[block] or {}
        young[block] = replicas
        kept = kept + 1
    end
    replicas[replica] = true
end

-- What the engine reads first comes first. The text of the body is compared as it is: a client writes the same turns alike.
local function prompt_in(txn, body)
    local start
    for _, name in ipairs({"messages", "prompt", "input"}) do
        local place = body:find('"' .. name .. '"%s*:')
        if place and (start == nil or place < start) then
            start = place
        end
    end
    if start == nil then
        return nil
    end
    local before = text_at(txn, body, "$.system") or text_at(txn, body, "$.instructions") or ""
    return before .. body:sub(start)
end

local function blocks_of(txn, owner, prompt)
    local blocks, before = {}, owner
    for number = 1, math.min(#prompt // BLOCK, MOST_BLOCKS) do
        before = txn.c:xxh64(before .. "\n" .. prompt:sub((number - 1) * BLOCK + 1, number * BLOCK))
        blocks[number] = before
    end
    return blocks
end

local function knowing(block, replicas)
    local known = young[block] or old[block]
    local found = {}
    for _, replica in ipairs(replicas) do
        if known and known[replica] then
            found[#found + 1] = replica
        end
    end
    return found
end

local function by_prefix(txn, headers, body)
    local prompt = prompt_in(txn, body)
    local blocks = prompt and blocks_of(txn, owner_of(headers), prompt)
    if blocks == nil or blocks[1] == nil then
        return nil
    end
    local open, connections = open_replicas(txn)
    local best, deepest = nil, blocks[1]
    for _, block in ipairs(blocks) do
        local found = knowing(block, best or open)
        if found[1] == nil then
            break
        end
        best, deepest = found, block
    end
    local fewest = {}
    for _, replica in ipairs(best or open) do
        local now = connections[replica]
        if best == nil or fewest[1] == nil or now == connections[fewest[1]] then
            fewest[#fewest + 1] = replica
        elseif now < connections[fewest[1]] then
            fewest = {replica}
        end
    end
    local home = home_of(txn, tostring(deepest), fewest)
    if home then
        for _, block in ipairs(blocks) do
            remember(block, home)
        end
    end
    return home
end

core.register_action("llama_choose", {"http-req"}, function(txn)
    local choose = BY_PREFIX and by_prefix or by_conversation
    local well, replica = pcall(choose, txn, txn.http:req_get_headers(), txn.sf:req_body() or "")
    if well and replica then
        txn:set_var("txn.llama_replica", replica)
    elseif not well then
        core.log(core.err, "the replica of a request could not be chosen: " .. tostring(replica))
    end
end, 0)

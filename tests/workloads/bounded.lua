-- Ends wrk after so many answers: wrk … -s bounded.lua URL -- COUNT
local left

function init(arguments)
   left = tonumber(arguments[1])
end

function response()
   left = left - 1
   if left == 0 then
      wrk.thread:stop()
   end
end

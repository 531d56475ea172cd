// A function in a flow of Flowise; $question, $history and $word are its input variables, tone is one of Flowise's own.
if ($question === 'boom') throw new Error('it broke on purpose')
if ($question.startsWith('call ')) await require('axios').get(`http://127.0.0.1:${$question.split(' ')[1]}`)
const history = $history ? String($history) : ''
if ($question === 'what was said?') return history.replaceAll('\n', ' | ')
const turn = 1 + (history.match(/^Human: /gm) || []).length
return `${$word} ${turn}: ${$question}${$vars.tone ? ` (${$vars.tone})` : ''}`
